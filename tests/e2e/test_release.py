"""packaging/release: one commit is one tarball, byte for byte, and what was forgotten is named."""

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")

VERSION = re.search(r"^  version : '(.*)',$", (TOP / "meson.build").read_text(), re.M)[1]
SPEC = "packaging/rpm/homing.spec"


class Repository:
    """A checkout of what a release looks at: this one's own files, and a few more."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder.parent), "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
            **{f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER")
               for what, text in (("NAME", "a"), ("EMAIL", "a@b.example"), ("DATE", "1700000000 +0000"))}}
        for name in (".gitignore", "meson.build", "CHANGELOG.md", "README.md", "packaging/release",
                     "packaging/debian/changelog", SPEC):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if (TOP / name).exists():
                shutil.copy(TOP / name, folder / name)
        if not (folder / SPEC).exists():
            self.write(SPEC, f"Name:           homing\nVersion:        {VERSION}\n")
        self.git("init", "-q", "--initial-branch=main")
        self.change("CHANGELOG.md", r"^(## \[[^]]*\] - ).*", r"\g<1>2026-11-25", count=1)
        self.change("packaging/debian/changelog", r"\) UNRELEASED;", ") unstable;", missing=True)
        self.commit()
        self.git("tag", f"v{VERSION}")

    def git(self, *words):
        done = subprocess.run(["git", "-C", str(self.folder), *words], env=self.environment,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"git {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "-q", "--message=x")

    def tag(self):
        self.git("tag", "--force", f"v{VERSION}")

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def change(self, name, pattern, to, count=0, missing=False):
        old = (self.folder / name).read_text()
        new = re.sub(pattern, to, old, count=count, flags=re.M)
        assert missing or re.search(pattern, old, re.M), f"{name}: no {pattern}"
        self.write(name, new)

    def release(self, *options, code=0, **more):
        done = subprocess.run([str(self.folder / "packaging/release"), *options], capture_output=True,
                              text=True, timeout=120, env={**self.environment, **more})
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        if code != 0:
            assert not list(self.folder.glob("packaging/out/*.tar.gz"))
        return done.stdout + done.stderr

    @property
    def tarball(self):
        return self.folder / f"packaging/out/homing-{VERSION}.tar.gz"


@pytest.fixture
def repository(place):
    return Repository(place / "checkout")


def test_a_release_is_made_and_has_what_is_committed(repository):
    said = repository.release()
    with tarfile.open(repository.tarball) as tar:
        members = {member.name: member for member in tar if not member.isdir()}
    assert sorted(members) == sorted(f"homing-{VERSION}/{name}"
                                     for name in repository.git("ls-files").split())
    assert {member.mtime for member in members.values()} == {1700000000}
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
    assert members[f"homing-{VERSION}/packaging/release"].mode & 0o111
    assert "gpg --armor --detach-sign" in said and "not signed" in said
    assert repository.git("rev-parse", "HEAD").strip() in said


def test_two_runs_give_the_same_bytes_wherever_and_whoever(repository, place):
    repository.release()
    first = repository.tarball.read_bytes()
    repository.release()
    assert repository.tarball.read_bytes() == first
    other = place / "another place"
    subprocess.run(["git", "clone", "-q", str(repository.folder), str(other)], check=True,
                   env=repository.environment)
    for path in (other / "README.md", other / "meson.build"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    (place / "gitconfig").write_text("[core]\n\tautocrlf = true\n\tfileMode = false\n[tar]\n\tumask = 0077\n")
    old = os.umask(0o077)
    try:
        done = subprocess.run([str(other / "packaging/release")], capture_output=True, text=True,
                              env={**repository.environment, "TZ": "Asia/Kathmandu",
                                   "GIT_CONFIG_GLOBAL": str(place / "gitconfig")})
    finally:
        os.umask(old)
    assert done.returncode == 0, done.stderr
    assert (other / f"packaging/out/homing-{VERSION}.tar.gz").read_bytes() == first
    assert first[4:8] == bytes(4), "gzip's header has a time"


@pytest.mark.parametrize("name", ["README.md", "new-file"])
def test_work_that_is_not_committed_is_refused(name, repository):
    path = repository.folder / name
    path.write_text((path.read_text() if path.exists() else "") + "more\n")
    for options in ([], ["--snapshot"]):
        said = repository.release(*options, code=65)
        assert "not committed" in said and name in said and "commit it" in said


@pytest.mark.parametrize("name, pattern, to, word", [
    ("meson.build", r"^  version : '.*',$", "  version : '9.8.7',", "meson.build says 9.8.7"),
    ("CHANGELOG.md", r"^## \[[^]]*\]", "## [9.8.7]", "section is of 9.8.7"),
    ("packaging/debian/changelog", r"^homing \([^)]*\)", "homing (1:9.8.7-1)", "entry is of 9.8.7"),
    (SPEC, r"^Version:.*", "Version: 9.8.7", 'Version is "9.8.7"'),
])
def test_a_version_that_is_another_one_is_refused(name, pattern, to, word, repository):
    repository.change(name, pattern, to, count=1)
    repository.commit()
    repository.tag()
    for options in ([], ["--snapshot"]):
        said = repository.release(*options, code=65)
        assert word in said and name in said
        assert name == "meson.build" or VERSION in said  # what to write


@pytest.mark.parametrize("name", [SPEC, "packaging/debian/changelog"])
def test_packaging_that_is_missing_is_refused(name, repository):
    (repository.folder / name).unlink()
    repository.commit()
    repository.tag()
    for options in ([], ["--snapshot"]):
        assert f"{name} is not committed" in repository.release(*options, code=65)


def test_an_epoch_and_a_revision_of_debian_are_not_of_the_version(repository):
    repository.change("packaging/debian/changelog", r"^homing \([^)]*\)", f"homing (2:{VERSION}-3.1)", count=1)
    repository.commit()
    repository.tag()
    repository.release()


def test_what_is_not_released_is_for_snapshots_alone(repository):
    repository.change("CHANGELOG.md", r"^(## \[[^]]*\] - ).*", r"\g<1>Unreleased", count=1)
    repository.change("packaging/debian/changelog", r"^(homing \(.*?\)) \w+;", r"\1 UNRELEASED;", count=1)
    repository.commit()
    repository.git("tag", "--delete", f"v{VERSION}")
    said = repository.release(code=65)
    assert '"Unreleased"' in said and "is UNRELEASED" in said and f"git tag --sign v{VERSION}" in said
    assert f"no tag v{VERSION} yet" in repository.release("--snapshot")
    assert repository.tarball.exists()


@pytest.mark.parametrize("heading", [f"## {VERSION} (2026-11-25)", f"## [{VERSION}] - 2026-13-25",
                                     f"## [{VERSION}] - soon", f"## [{VERSION}]"])
def test_a_section_without_a_date_is_refused(heading, repository):
    repository.change("CHANGELOG.md", r"^## .*", heading, count=1)
    repository.commit()
    repository.tag()
    assert "CHANGELOG.md: " in repository.release(code=65)


def test_a_tag_elsewhere_means_that_the_version_is_released_already(repository):
    repository.write("more", "more\n")
    repository.commit()
    for options in ([], ["--snapshot"]):
        said = repository.release(*options, code=65)
        assert "on another commit" in said and "raise the version" in said


def test_a_file_that_git_ignores_is_refused(repository):
    repository.write("packaging/out/left.deb", "x")
    repository.git("add", "--force", "packaging/out/left.deb")
    repository.commit()
    repository.tag()
    said = repository.release(code=65)
    assert "git ignores" in said and "packaging/out/left.deb" in said and "README.md" not in said


@pytest.mark.parametrize("where", ["checkout", "home", "work"])
def test_a_path_of_this_machine_is_refused(where, repository):
    path = {"checkout": str(repository.folder), "home": str(repository.folder.parent),
            "work": "/" + "work"}[where]
    repository.write("notes", f"fine: /var/lib/homing\nsee {path}/notes.txt for more\n")
    repository.commit()
    repository.tag()
    said = repository.release(code=65)
    assert "a path of this machine" in said and f"homing-{VERSION}/notes:2:" in said
    repository.write("notes", "\"$1/work\" and a/work/b, ${here}/work are other places\n")
    repository.commit()
    repository.tag()
    repository.release()


def test_all_that_is_wrong_is_said_at_once(repository):
    repository.change("CHANGELOG.md", r"^## .*", "## [9.8.7] - Unreleased", count=1)
    repository.change(SPEC, r"^Version:.*", "Version: 9.8.7", count=1)
    said = repository.release(code=65)
    assert "first: 1\n" in said  # what is not committed does not count
    repository.commit()
    said = repository.release(code=65)
    assert "first: 4\n" in said and said.count("9.8.7") >= 3


def test_help_and_mistakes_on_the_command_line(repository):
    assert "--snapshot" in repository.release("--help")
    assert "usage:" in repository.release("--tag", code=64)
    shutil.rmtree(repository.folder / ".git")
    assert "no git checkout" in repository.release(code=65, GIT_CEILING_DIRECTORIES=str(repository.folder.parent))
