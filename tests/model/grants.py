"""Grants on mailboxes as homing-sharing(7) has them, and the mailboxes that they are on."""

ALL = "lrwstipekxa"
# weaker first
ORDER = ["domain", "group", "user"]


class Grants:
    def __init__(self, directory):
        self.directory = directory
        self.boxes = {}  # {account: {mailbox}}
        self.given = {}  # {(account, mailbox, or None for all): {(kind, name): [rights, negative]}}

    # Who has which rights

    def members(self, group):
        found, seen, waiting = set(), set(), [group]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            kind, others = self.directory.names.get(self.directory.key(name), ("", []))
            if kind == "account":
                found.add(name)
            elif kind in ("alias", "group"):
                waiting += others
        return found

    def means(self, who, user):
        kind, name = who
        return {"domain": lambda: user.split("@")[1] == name, "user": lambda: user == name,
                "group": lambda: user in self.members(name)}[kind]()

    def granted(self, user, owner, box):
        counting = {**self.given.get((owner, None), {}), **self.given.get((owner, box), {})}
        halves = [set(), set()]
        for kind in ORDER:
            mine = [halves_of for who, halves_of in counting.items()
                    if who[0] == kind and self.means(who, user)]
            for half in (0, 1):
                given = [each[half] for each in mine if each[half] is not None]
                if given:
                    halves[half] = set().union(*given)
        return halves[0] - halves[1]

    def administers(self, user, owner):
        domain = owner.split("@")[1]
        return user in {name if "@" in name else f"{name}@{domain}" for name in
                        self.directory.domains[domain].get("administrators", [])}

    def rights(self, user, owner, box):
        """The letters of MYRIGHTS, sorted; None where the mailbox is not for this user."""
        rights = set(ALL) if self.administers(user, owner) else self.granted(user, owner, box)
        if not rights - {"p"}:
            return None
        return "".join(sorted(rights | ({"c"} if rights & set("kx") else set())
                              | ({"d"} if rights & set("te") else set())))

    def visible(self, user):
        """(owner, mailbox) of what the list of shared mailboxes has."""
        return {(owner, box) for owner, boxes in self.boxes.items() for box in boxes
                if owner != user and "l" in self.granted(user, owner, box)}

    # The life of a grant

    def give(self, owner, box, who, rights, half):
        self.given.setdefault((owner, box), {}).setdefault(who, [None, None])[half] = set(rights)

    def take(self, owner, box, who, half):
        self.given.get((owner, box), {}).get(who, [None, None])[half] = None

    def create(self, owner, box):
        self.boxes[owner].add(box)
        parent = box.rpartition("/")[0]
        self.given[owner, box] = {who: list(halves) for who, halves in
                                  self.given.get((owner, parent), {}).items()}

    def delete(self, owner, box):
        self.boxes[owner].discard(box)
        self.given.pop((owner, box), None)

    def rename(self, owner, old, new):
        for box in [box for box in self.boxes[owner] if box == old or box.startswith(old + "/")]:
            self.boxes[owner].discard(box)
            self.boxes[owner].add(new + box[len(old):])
            if (owner, box) in self.given:
                self.given[owner, new + box[len(old):]] = self.given.pop((owner, box))

    def add_account(self, name):
        self.boxes[name] = {"INBOX"}

    def delete_account(self, name):
        del self.boxes[name]
        self.given = {(owner, box): {who: halves for who, halves in grants.items() if who != ("user", name)}
                      for (owner, box), grants in self.given.items() if owner != name}

    def rename_account(self, old, new):
        self.boxes[new] = self.boxes.pop(old)
        self.given = {(new if owner == old else owner, box):
                      {("user", new) if who == ("user", old) else who: halves for who, halves in grants.items()}
                      for (owner, box), grants in self.given.items()}
