"""200 accounts in five domains, and random grants: what each user can list and open is what a model
says that is written here from RFC 4314 and homing-sharing(7). HOMING_TEST_ROUNDS for more grants."""

import os
import random

import sharing
from sharing import quote

ALL = "lrwstipekxa"
DOMAINS = ["company.com", "client1.com", "client2.com", "client3.com", "client4.com"]
PER_DOMAIN = 40
BOXES = ["INBOX", "A", "A/B", "A/B/C", "D"]
GROUPS = {"g0@company.com": 9, "g1@company.com": 5, "g0@client1.com": 12, "g1@client2.com": 8,
          "g2@client3.com": 20}
# weaker first
ORDER = ["anyone", "authenticated", "domain", "group", "owner", "user", "override"]
SEED = 4314


class Model:
    """Grants as {(owner, box or None for the whole account): {(kind, name): [rights, negative]}}"""

    def __init__(self, members, administrators):
        self.members, self.administrators = members, administrators
        self.grants = {}

    def give(self, owner, box, who, rights, negative):
        halves = self.grants.setdefault((owner, box), {}).setdefault(who, [None, None])
        halves[1 if negative else 0] = set(rights)

    def means(self, who, user, owner):
        kind, name = who
        return {
            "anyone": True,
            "authenticated": True,
            "domain": user.split("@")[1] == name,
            "group": user in self.members.get(name, ()),
            "override": user in self.members.get(name, ()),
            "owner": user == owner,
            "user": user == name,
        }[kind]

    def rights(self, user, owner, box):
        if user in self.administrators.get(owner.split("@")[1], ()):
            return set(ALL)
        return self.granted(user, owner, box)

    def granted(self, user, owner, box):
        counting = dict(self.grants.get((owner, None), {}))
        counting.update(self.grants.get((owner, box), {}))
        halves = [set(ALL) if user == owner else set(), set()]
        for kind in ORDER:
            if user == owner and ORDER.index(kind) < ORDER.index("owner"):
                continue
            mine = [grant for who, grant in counting.items()
                    if who[0] == kind and self.means(who, user, owner)]
            for half in (0, 1):
                given = [grant[half] for grant in mine if grant[half] is not None]
                if given:
                    halves[half] = set().union(*given)
        return halves[0] - halves[1]


def identifier(kind, name):
    return {"anyone": "anyone", "authenticated": "authenticated", "domain": f"anyone@{name}",
            "group": f"${name}", "override": f"!${name}", "owner": "owner", "user": name}[kind]


def random_grants(dice, accounts, count):
    letters = ["l", "lr", "lrs", "lrwst", "r", "", ALL, "lrwstipek", "i", "p"]
    owners = dice.sample(accounts, 25)
    for _ in range(count):
        kind = dice.choices(ORDER, [1, 1, 4, 6, 1, 12, 2])[0]
        name = {"domain": dice.choice(DOMAINS), "group": dice.choice(list(GROUPS)),
                "override": dice.choice(list(GROUPS)), "user": dice.choice(accounts)}.get(kind, "")
        box = dice.choices([*BOXES, None], [3, 4, 4, 3, 3, 1])[0]
        yield (dice.choice(owners), box, (kind, name), dice.choice(letters),
               dice.random() < 0.25)


def make_world(place, dice):
    homing = sharing.directory(place / "directory", {
        domain: {"administrators": ["user0"]} if domain == "client1.com" else {}
        for domain in DOMAINS})
    accounts = [f"user{n}@{domain}" for domain in DOMAINS for n in range(PER_DOMAIN)]
    lines = place / "accounts"
    lines.write_text("".join(f'{{"account":"{name}","password":"{{PLAIN}}{sharing.PASSWORD}"}}\n'
                             for name in accounts))
    homing.ctl("account", "import", str(lines))
    members = {group: dice.sample(accounts, size) for group, size in GROUPS.items()}
    for group, names in members.items():
        homing.ctl("group", "add", group, *names)
    sharing.usable(homing)
    world = sharing.World(place / "world", homing=homing)
    return world, accounts, Model(members, {"client1.com": ["user0@client1.com"]})


def make_mailboxes(world, owners):
    for owner in owners:
        with world.session(owner) as session:
            for box in BOXES[1:]:
                session.ok("CREATE", quote(box))


def grant(world, owner, box, who, rights, negative):
    world.homing.ctl("share", "grant", owner, box or "*", "--", ("-" if negative else "") +
                     identifier(*who), rights)


def check_user(world, model, user, owners):
    wanted = {}
    for owner in owners:
        for box in BOXES:
            if owner != user:
                wanted[world.name(box, owner)] = model.rights(user, owner, box)
    with world.session(user) as session:
        listed = {name for name, flags in shown(session) if not flags & {"\\nonexistent",
                                                                         "\\noselect"}}
        assert listed == visible(model, user, owners, world), user
        for name, rights in wanted.items():
            # one may administer without being listed
            found = session.rights(name)
            letters = "".join(sorted(rights | ({"c"} if rights & set("kx") else set())
                                     | ({"d"} if rights & set("te") else set())))
            assert found == (letters if rights - {"p"} else None), (user, name)
            status, _, _ = session.select(name, "EXAMINE")
            assert (status == "OK") == ("r" in rights), (user, name, rights)


def shown(session):
    answers = session.ok("LIST", '""', '"shared/*"').get("LIST", [])
    return [sharing.listed(answer) for answer in sharing.joined(answers)]


def visible(model, user, owners, world):
    """What is listed: by grants. What an administrator may do without one is not listed."""
    return {world.name(box, owner) for owner in owners for box in BOXES
            if owner != user and "l" in model.granted(user, owner, box)}


def test_everybody_can_list_and_open_what_the_model_says(place, start):
    dice = random.Random(SEED)
    world, accounts, model = make_world(place, dice)
    rounds = int(os.environ.get("HOMING_TEST_ROUNDS", "1"))
    start(world.server)
    grants = list(random_grants(dice, accounts, 250 * rounds))
    owners = sorted({one[0] for one in grants})
    make_mailboxes(world, owners)
    for one in grants:
        grant(world, *one)
        model.give(*one)
    sharing.usable(world.homing)
    for user in accounts:
        check_user(world, model, user, owners)
    # a user leaves all groups, and a group loses all its members
    for group in ("g0@client1.com", "g2@client3.com"):
        world.homing.ctl("group", "remove", group, *model.members[group])
        model.members[group] = []
    sharing.usable(world.homing)
    for user in dice.sample(accounts, 40):
        check_user(world, model, user, owners)
    assert not [line for line in world.server.errors() if "homing" in line]
