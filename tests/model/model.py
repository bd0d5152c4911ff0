"""Routing and the directory once more, small and slow, from homing-routing(7), homingctl(1) and
homing.json(5) alone: what router/ says is compared with what is said here. It shares no code with
router/, and is not to be mended by reading it: where the two differ, the manual decides.

    model = Model(config)                       # homing.json, as a dict
    model.add("account", "info@company.com")
    model.route("login", b"info", "192.0.2.1") == {"result": "account", ...}
"""

import ipaddress
import re
import unicodedata

CHANGES = 32
SPACES = set("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {
    chr(code) for code in range(0x2000, 0x200B)}
# RFC 5322's atext and what RFC 6531 adds: what needs no quotes, apart from dots.
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
NO_QUOTES = re.compile(rf"{ATOM}(\.{ATOM})*")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)
# What the model can turn into A-labels: letters whose lower case and NFC are all that UTS 46 does.
KNOWN_LETTERS = set("äöüßéÄÖÜÉ\u0308")
FORBIDDEN = set('/@%!#"`\\*,:;<>()[]|&$')
MALFORMED = ("malformed", 501, "5.1.3")
UNKNOWN_DOMAIN = ("unknown-domain", 550, "5.1.2")
UNKNOWN_ACCOUNT = ("unknown-account", 550, "5.1.1")
LOOP = ("loop", 554, "5.4.6")


class Refused(Exception):
    """reason, SMTP code, status, and the text of a router record"""


class Discarded(Exception):
    pass


class Unsure(Exception):
    """What the model leaves to others: IDNA beyond a few letters."""


def fold(local):
    """As local parts are compared."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).lower())


def size(text):
    return len(text.encode())


def domain_name(text):
    """In lower case and A-labels, without one trailing dot; None if it is no domain name."""
    if not text.isascii():
        text = text.replace("\u3002", ".")
        if not all(letter.isascii() or letter in KNOWN_LETTERS for letter in text):
            raise Unsure(text)
        text = unicodedata.normalize("NFC", text)
        if "\u0308" in text or re.search(r"(^|\.)-|-(\.|$)|_|(^|\.)..--", text):
            raise Unsure(text)
    text = text.removesuffix(".").lower()
    labels = [label if label.isascii() else
              "xn--" + label.encode("punycode").decode() for label in text.split(".")]
    for label, written in zip(labels, text.split(".")):
        if label.startswith("xn--") and written.isascii():
            try:
                letters = label[4:].encode().decode("punycode")
            except UnicodeError:
                raise Unsure(text) from None
            if not letters or not set(letters) - set(map(chr, range(128))) <= KNOWN_LETTERS \
                    or letters != letters.lower() or letters.encode("punycode").decode() != label[4:] \
                    or re.search(r"^-|-$|_|^..--", letters) or "\u0308" in letters:
                raise Unsure(text)
        if not re.fullmatch(r"[a-z0-9_-]{1,63}", label):
            return None
    name = ".".join(labels)
    return name if len(name) <= 253 else None


def ip_address(text):
    """An IPv4-mapped IPv6 address counts as the IPv4 one."""
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def literal_address(domain):
    """The address in [..], None if there is none."""
    inside = domain[1:-1]
    tag, text = (inside[:5].lower(), inside[5:]) if inside[:5].lower() == "ipv6:" else ("", inside)
    try:
        address = ipaddress.IPv6Address(text) if tag else ipaddress.IPv4Address(text)
    except ValueError:
        return None
    return None if "%" in text else ip_address(str(address))


def literal(address):
    return f"[{'IPv6:' if address.version == 6 else ''}{address}]"


def outside_quotes(text, wanted):
    """Where `wanted` stands outside quotes. Quotes that do not end are malformed."""
    found, inside, position = [], False, 0
    while position < len(text):
        letter = text[position]
        if inside and letter == "\\":
            position += 1
        elif letter == '"':
            inside = not inside
        elif letter == wanted and not inside:
            found.append(position)
        position += 1
    if inside:
        raise Refused(*MALFORMED)
    return found


def joined(local, domain):
    """Neither may be empty."""
    if not local or not domain:
        raise Refused(*MALFORMED)
    return f"{local}@{domain}"


def is_quoted(local):
    return local.startswith('"')


def possible_name(local):
    """Whether an account, an alias, a forwarder or a group may have this local part."""
    return (0 < size(fold(local)) <= 255 and local not in (".", "..") and local[0] not in "-~"
            and not any(letter in FORBIDDEN or letter in SPACES or is_control(letter)
                        for letter in local))


def is_control(letter):
    return unicodedata.category(letter) == "Cc" or letter in "\u2028\u2029"


class Record:
    """A router record."""

    def __init__(self, match, to):
        self.to = to
        local, at, domain = match.rpartition("@")
        self.local = fold(local) if at else None
        self.domain = self.domain_pattern(domain)

    @staticmethod
    def domain_pattern(domain):
        """`*` may stand in a domain, which is none then."""
        if "*" in domain:
            return domain.lower()
        return domain_name(domain)

    @staticmethod
    def fit(pattern, text):
        """What the `*` took, or None."""
        expression = "(.*?)".join(map(re.escape, pattern.split("*")))
        found = re.fullmatch(expression, text, re.S | re.I if text.isascii() else re.S)
        return None if found is None else list(found.groups())

    def apply(self, local, domain):
        """None, or the new name; Discarded, Refused."""
        taken = []
        if self.local == "*" and size(fold(local)) > 255:
            taken = [local]
        elif self.local is not None:
            if size(fold(local)) > 255:
                return None
            taken = self.fit(self.local, local if local.isascii() else fold(local))
            if taken is None:
                return None
        more = self.fit(self.domain, domain)
        if more is None:
            return None
        taken += more
        if self.to == "discard:":
            raise Discarded
        if self.to.startswith("error:"):
            status, _, text = self.to[6:].partition(" ")
            raise Refused("error", 450 if status.startswith("4") else 550, status, text)
        name = re.sub(r"\*", lambda _: taken.pop(0), self.to)
        return name if "@" in self.to else f"{local}@{name}"


class Model:
    def __init__(self, config):
        self.names = {}  # {(local part, domain): (kind, [targets])}
        self.configure(config)

    def configure(self, config):
        self.config = config
        self.main = domain_name(config["main_domain"])
        self.domains = {domain_name(name): keys for name, keys in config["domains"].items()}
        self.aliases = {domain_name(alias): domain for domain, keys in self.domains.items()
                        for alias in keys.get("aliases", [])}
        self.server_names, self.wildcards = {}, {}
        for domain, keys in self.domains.items():
            for name in keys.get("server_names", []):
                table = self.wildcards if name.startswith("*.") else self.server_names
                table[domain_name(name.removeprefix("*."))] = domain
        self.networks = [(ipaddress.ip_network(text), domain)
                         for domain, keys in self.domains.items()
                         for text in keys.get("addresses", [])]
        self.records = [Record(record["match"], record["to"])
                        for record in config.get("router", [])]

    # The directory

    def split(self, name):
        """As homingctl takes names and targets: bare ones belong to the main domain. None if it
        is no name."""
        local, at, domain = name.rpartition("@")
        if not at:
            return (name, self.main)
        domain = domain_name(domain)
        return (local, domain) if domain else None

    def add(self, kind, name, *targets):
        local, domain = self.split(name)
        found = self.names.setdefault((fold(local), domain), (kind, []))
        for target in targets:
            whole = "@".join(self.split(target))
            if whole not in found[1]:
                found[1].append(whole)

    # Routing

    def route(self, kind, name, local_ip=None, server_name=None):
        try:
            text = name.decode() if isinstance(name, bytes) else name
        except UnicodeDecodeError:
            return refusal(*MALFORMED)
        return Route(self, kind, local_ip, server_name).answer(text)

    def owner_of_address(self, address):
        address = ip_address(str(address))
        owning = [(network.prefixlen, domain) for network, domain in self.networks
                  if address in network]
        return max(owning)[1] if owning else None

    def owner_of_server_name(self, name):
        if isinstance(name, bytes):
            try:
                name = name.decode()
            except UnicodeDecodeError:
                return None
        name = domain_name(name)
        if name is None:
            return None
        exact = name if name in self.domains else \
            self.aliases.get(name) or self.server_names.get(name)
        return exact or ("." in name and self.wildcards.get(name.split(".", 1)[1])) or None


def refusal(reason, smtp, status, text=None):
    """`text` is None where its words are the program's own."""
    found = {"result": "refuse", "reason": reason, "smtp": smtp, "status": status}
    return found if text is None else {**found, "text": text}


class Route:
    """One name on its way."""

    def __init__(self, model, kind, local_ip=None, server_name=None, above=()):
        self.model, self.kind, self.above = model, kind, above
        self.local_ip, self.server_name = local_ip, server_name
        self.login = kind == "login"
        self.detail = self.mailbox = None
        self.explicit = self.literal = False

    def answer(self, name):
        try:
            found = self.walk(name)
        except Refused as refused:
            return refusal(*refused.args)
        except Discarded:
            return refusal(*UNKNOWN_ACCOUNT) if self.login else {"result": "discard"}
        for flag in ("explicit", "literal"):
            if getattr(self, flag):
                found[flag] = True
        return found

    def walk(self, name):
        changes = 0
        while True:
            name = self.step(name)
            if isinstance(name, dict):
                return name
            if size(name) > 512:  # also where it is the change too many
                raise Refused(*MALFORMED)
            changes += 1
            if changes > CHANGES:
                raise Refused(*LOOP)

    def step(self, name):
        """The name after its next change, or the answer."""
        self.check(name)
        ats = outside_quotes(name, "@")
        if name.startswith("@") and not self.login and ":" in name:
            return self.without_source_route(name)
        if len(ats) > 1:
            raise Refused(*MALFORMED)
        local = name[:ats[0]] if ats else name
        unquoted = self.unquote(local)
        if unquoted is not None:
            return unquoted + name[len(local):]
        if not ats:
            return self.with_domain(name)
        domain = self.domain(name[ats[0] + 1:])
        if not local or (self.login and local in (".", "..")):
            raise Refused(*MALFORMED)
        if domain.startswith("["):
            owner = self.model.owner_of_address(literal_address(domain))
            if owner:
                self.literal = True
                return f"{local}@{owner}"
        for record in self.model.records:
            changed = record.apply(local, domain)
            if changed is not None:
                return changed
        if domain in self.model.aliases:
            return f"{local}@{self.model.aliases[domain]}"
        if domain not in self.model.domains:
            if self.login:
                raise Refused(*UNKNOWN_DOMAIN)
            return {"result": "remote", "address": f"{local}@{domain}", "relay": self.explicit}
        return self.ours(local, domain)

    # Steps 1 to 4

    def check(self, name):
        if not name or size(name) > 512 or any(map(is_control, name)):
            raise Refused(*MALFORMED)
        if self.login and ("/" in name or set(name) & SPACES):
            raise Refused(*MALFORMED)

    def without_source_route(self, name):
        route = re.match(r"((?:\[[^\]]*\]|[^:\[])*):", name)
        if route is None:
            raise Refused(*MALFORMED)
        for hop in route[1].split(","):
            if not hop.startswith("@"):
                raise Refused(*MALFORMED)
            self.domain(hop[1:])
        return name[route.end():]

    def unquote(self, local):
        """The local part without its quotes where it needs none; None where nothing changes."""
        if '"' not in local:
            return None
        whole = QUOTED.fullmatch(local)
        if whole is None:
            raise Refused(*MALFORMED)
        content = re.sub(r"\\(.)", r"\1", whole[1], flags=re.S)
        if not content:
            raise Refused(*MALFORMED)
        return content if NO_QUOTES.fullmatch(content) else None

    def with_domain(self, name):
        percents, bangs = outside_quotes(name, "%"), outside_quotes(name, "!")
        if percents:
            return joined(name[:percents[-1]], name[percents[-1] + 1:])
        if self.login:
            domain = (self.server_name and self.model.owner_of_server_name(self.server_name)) or \
                (self.local_ip and self.model.owner_of_address(self.local_ip))
            return f"{name}@{domain or self.model.main}"
        if bangs:
            return joined(name[bangs[0] + 1:], name[:bangs[0]])
        return f"{name}@{self.model.main}"

    def domain(self, text):
        if text.startswith("[") and text.endswith("]"):
            address = literal_address(text)
            if address is None:
                raise Refused(*MALFORMED)
            return literal(address)
        name = domain_name(text)
        if name is None:
            raise Refused(*MALFORMED)
        return name

    # Steps 8 to 11: a name in a domain of ours

    def ours(self, local, domain):
        quoted = is_quoted(local)
        if not quoted:
            routed = self.explicit_route(local)
            if routed:
                self.explicit = True
                return routed
            if "#" in local:
                box, _, account = local.rpartition("#")
                if not box or not account:
                    raise Refused(*MALFORMED)
                if self.mailbox is None:
                    self.mailbox = box
                return f"{account}@{domain}"
        keys = self.model.domains[domain]
        kind, targets, name, end = self.look_up(local, domain, keys, quoted)
        if end is not None:  # records see the shorter name too
            if self.detail is None:
                self.detail = local[end + 1:]
            return f"{local[:end]}@{domain}"
        if kind in ("account", "external"):
            found = {"result": "account", "account": f"{name}@{domain}", "detail": self.detail,
                     "mailbox": self.mailbox}
            return {**found, "external": True} if kind == "external" else found
        if kind == "alias":
            return targets[0]
        if kind in ("forwarder", "group") and not self.login:
            return self.forward((name, domain), targets)
        rule = keys.get("unknown", "reject")
        if kind is None and not self.login:
            if rule == "discard":
                raise Discarded
            if rule.startswith("reroute:"):
                self.detail = self.mailbox = None
                return rule.removeprefix("reroute:")
        raise Refused(*UNKNOWN_ACCOUNT)

    def explicit_route(self, local):
        if "%" in local:
            name, _, host = local.rpartition("%")
        elif "!" in local and not self.login:
            host, _, name = local.partition("!")
        else:
            return None
        return joined(name, host)

    def look_up(self, local, domain, keys, quoted):
        """(kind, targets, name, where a detail begins); None where nobody has it."""
        delimiter = keys.get("subaddress_delimiter", "+")
        ends = [len(local)]
        if not quoted:
            ends += [at for at in range(len(local) - 1, 0, -1) if local[at] == delimiter]
        external = keys.get("accounts", "directory") != "directory"
        for end in ends:
            name = fold(local[:end])
            kind, targets = self.model.names.get((name, domain), (None, None))
            if kind and not (external and kind == "account"):
                return kind, targets, name, None if end == len(local) else end
        if external and self.possible_elsewhere(local):
            return "external", None, fold(local), None
        return None, None, None, None

    @staticmethod
    def possible_elsewhere(local):
        return (local not in (".", "..") and size(fold(local)) <= 255
                and not set(local) & (SPACES | set('/"!%#\\')))

    def forward(self, own, targets):
        """What is left of the targets, each routed as an address by itself."""
        left, outcome = set(), set()
        self.collect(own, targets, left, outcome)
        if left:
            return {"result": "forward", "targets": left}
        if "discard" in outcome:
            raise Discarded
        raise Refused(*(LOOP if "loop" in outcome else UNKNOWN_ACCOUNT))

    def collect(self, own, targets, left, outcome):
        above = (*self.above, own)
        for target in targets:
            inner = Inside(self.model, above, left, outcome)
            found = inner.answer(target)
            if found["result"] == "account":
                left.add(self.address(found))
            elif found["result"] == "remote":
                left.add(found["address"])
            elif found["result"] == "refuse":
                outcome.add(found["reason"])
            elif found["result"] == "discard":
                outcome.add("discard")

    def address(self, found):
        local, _, domain = found["account"].rpartition("@")
        delimiter = self.model.domains[domain].get("subaddress_delimiter", "+")
        box = found["mailbox"] + "#" if found["mailbox"] is not None else ""
        detail = delimiter + found["detail"] if found["detail"] is not None else ""
        return f"{box}{local}{detail}@{domain}"


class Inside(Route):
    """A target: what it leads to is put to the rest."""

    def __init__(self, model, above, left, outcome):
        super().__init__(model, "address", above=above)
        self.left, self.outcome = left, outcome

    def forward(self, own, targets):
        if own in self.above:
            raise Refused(*LOOP)
        self.collect(own, targets, self.left, self.outcome)
        return {"result": "nested"}
