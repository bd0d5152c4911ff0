"""The names of the directory as homingctl(1) has them, and what each command makes of them.

A method is a command: it gives the exit codes that it may have, {0} where it works and then does it."""

from model import Model, fold, possible_name

USAGE, DATA, NO_NAME, TAKEN = 64, 65, 67, 73


class Directory(Model):
    def __init__(self, config):
        super().__init__(config)
        self.names = {}
        self.known = {}  # {account: {"home":, "password":}}, what it has of its own

    # Asking

    def own_domain(self, domain):
        """Why no name can be added there: exit codes, empty where it can."""
        if domain in self.aliases:
            return {DATA}
        return set() if domain in self.domains else {NO_NAME}

    def is_not(self, name, kind):
        """Why there is no such name of this kind: exit codes, empty where there is."""
        if not possible_name(self.split(name)[0]):
            return {DATA}
        return set() if self.names.get(self.key(name), ("",))[0] == kind else {NO_NAME}

    def key(self, name):
        local, domain = self.split(name)
        return fold(local), domain

    def target(self, text):
        """As it is stored."""
        local, domain = self.split(text)
        domain = self.aliases.get(domain, domain)
        return f"{fold(local) if domain in self.domains else local}@{domain}"

    def leads_to(self, target):
        """The name in the directory that a target means, with what is behind it; None if none."""
        local, _, domain = target.rpartition("@")
        delimiter = self.domains.get(domain, {}).get("subaddress_delimiter", "+")
        for end in [len(local), *(at for at in range(len(local) - 1, 0, -1) if local[at] == delimiter)]:
            if (fold(local[:end]), domain) in self.names:
                return (fold(local[:end]), domain), local[end + 1:] if end < len(local) else None
        return None, None

    def pointing_at(self, key):
        """The aliases and forwarders whose targets mean this name."""
        return [name for name, (kind, targets) in self.names.items() if kind in ("alias", "forwarder")
                and any(self.leads_to(target)[0] == key for target in targets)]

    def listed(self, kind):
        return {"@".join(name): list(targets) for name, (is_kind, targets) in self.names.items()
                if is_kind == kind}

    def groups_of(self, key):
        return sorted("@".join(name) for name, (kind, members) in self.names.items()
                      if kind == "group" and "@".join(key) in members)

    # Changing

    def may_add(self, kind, name, targets=()):
        local, domain = self.split(name)
        codes = self.own_domain(domain)
        if not possible_name(local):
            codes |= {DATA}
        if kind == "account" and self.domains.get(domain, {}).get("accounts"):
            codes |= {DATA}
        found = self.names.get(self.key(name))
        if found and not (kind == found[0] == "group"):
            codes |= {TAKEN}
        for target in targets:
            whole = self.target(target)
            local, at = self.split(whole)
            if self.key(whole) == self.key(name) or (at in self.domains and not possible_name(local)):
                codes |= {DATA}
        return codes

    def add_account(self, name, groups=(), home=None):
        codes = self.may_add("account", name)
        for group in groups:
            codes |= self.is_not(self.target(group), "group")
        if codes:
            return codes
        key = self.key(name)
        self.names[key] = ("account", [])
        self.known["@".join(key)] = {"home": home} if home else {}
        for group in groups:
            self.put(self.key(self.target(group)), "group", ["@".join(key)])
        return {0}

    def put(self, key, kind, targets):
        found = self.names.setdefault(key, (kind, []))[1]
        for target in targets:
            if target not in found:
                found.append(target)

    def add_alias(self, name, target):
        codes = self.may_add("alias", name, [target])
        if not codes and self.circle(self.key(name), self.target(target)):
            codes = {DATA}
        if not codes:
            self.put(self.key(name), "alias", [self.target(target)])
        return codes or {0}

    def circle(self, key, target):
        """Whether aliases lead from the target to the name that is to be one, each by its whole name."""
        while self.names.get(self.key(target), ("",))[0] == "alias":
            target = self.names[self.key(target)][1][0]
            if self.key(target) == key:
                return True
        return False

    def add_list(self, kind, name, targets):
        codes = self.may_add(kind, name, targets)
        if not codes:
            self.put(self.key(name), kind, map(self.target, targets))
        return codes or {0}

    def remove_member(self, name, member):
        codes = self.is_not(name, "group")
        if codes:
            return codes
        members = self.names[self.key(name)][1]
        if not possible_name(self.split(member)[0]):
            return {DATA, NO_NAME}
        if self.target(member) not in members:
            return {NO_NAME}
        members.remove(self.target(member))
        return {0}

    def delete(self, kind, name):
        codes = self.is_not(name, kind)
        if codes:
            return codes
        del self.names[self.key(name)]
        return {0}

    def delete_account(self, name, force):
        key, codes = self.key(name), self.is_not(name, "account")
        if codes:
            return codes
        if self.pointing_at(key) and not force:
            return {TAKEN}
        gone = [key]
        while gone:
            one = gone.pop()
            for other in self.pointing_at(one):
                kind, targets = self.names[other]
                if kind == "alias":
                    gone.append(other)
                else:
                    targets[:] = [each for each in targets if self.leads_to(each)[0] != one]
            for kind, members in self.names.values():
                if kind == "group":
                    members[:] = [each for each in members if self.leads_to(each)[0] != one]
            self.names.pop(one, None)
        del self.known["@".join(key)]
        return {0}

    def rename_account(self, old, new, default_home=None):
        key, other = self.key(old), self.key(new)
        codes = self.may_add("account", new) | self.is_not(old, "account")
        if codes:
            return codes
        followed = {name: [self.renamed(target, key, other) for target in targets]
                    for name, (_, targets) in self.names.items()}
        for name, targets in followed.items():
            self.names[name][1][:] = dict.fromkeys(targets)
        self.names[other] = self.names.pop(key)
        self.known["@".join(other)] = self.known.pop("@".join(key))
        if default_home:
            self.known["@".join(other)].setdefault("home", default_home)
        return {0}

    def renamed(self, target, key, other):
        found, detail = self.leads_to(target)
        if found != key:
            return target
        delimiter = self.domains.get(other[1], {}).get("subaddress_delimiter", "+")
        return f"{other[0]}{delimiter + detail if detail is not None else ''}@{other[1]}"

    # What `verify` finds

    def problems(self):
        found = set()
        for (local, domain), (kind, targets) in self.names.items():
            name = f"{local}@{domain}"
            if domain not in self.domains:
                found.add(name)
            elif kind == "account":
                ways = [self.route(way, name) for way in ("login", "address")]
                if any(way.get("account") != name for way in ways):
                    found.add(name)
            elif kind == "alias":
                mail = self.route("address", name)
                # leads nowhere, or means two things
                if mail["result"] == "refuse" or mail["result"] == "account" and \
                        self.route("login", name).get("account") != mail["account"]:
                    found.add(name)
            elif any(self.route("address", target)["result"] == "refuse" for target in targets):
                found.add(name)
        return found
