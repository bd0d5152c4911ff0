/* What the files of the reading side share. */
#ifndef HOMING_SHARING_PRIVATE_H
#define HOMING_SHARING_PRIVATE_H

#include "sharing-view.h"
#include "sharing.h"

struct sharing {
	struct store *store;
	struct store_reader *reader;
	struct sharing_view view; /* of the snapshot */
};

#endif
