"""Programs that run other programs, or code that they are given: whoever may start one of them may start anything.

No list of these is ever complete, and none has to be: rules that give name what may be run, and nothing else is. The
list says when a rule that guards must hold though what it guards is not to be seen, and which patterns give more than
they say. A copy under another name is not found; that is why guards over commands are rails and no walls.
"""

from __future__ import annotations

import re
from typing import Final

_SHELLS: Final = """
    ash bash cmd csh dash elvish fish ksh lksh mksh nu nush osh posh powershell pwsh rbash rc sash sh tcsh xonsh
    yash zsh
"""
_BOXES: Final = "busybox toybox sbase ubase"
_LAUNCHERS: Final = """
    aa-exec agetty at batch bwrap capsh catatonit chpst chroot chrt chvt command coproc daemonize
    dbus-run-session doas dumb-init eatmydata entr env envdir eval exec expect fakechroot fakeroot faketime
    firejail flock gdb gosu ionice ld ldd linux32 linux64 lldb login ltrace nice nohup nsenter numactl parallel
    pidproxy pkexec prlimit proot qemu rlwrap rtprio run-parts runcon runit runsv runuser s6 schroot screen
    script scriptreplay setarch setpriv setsid setuidgid softlimit ssh start-stop-daemon stdbuf strace su
    su-exec sudo supervise systemd-run tasksel taskset tcpsvd time timeout tini tmux torsocks tsocks udpsvd
    uidmap unbuffer unshare valgrind watch winpty xargs xvfb-run
"""
_CONTAINERS: Final = "buildah crictl crun ctr docker kubectl nerdctl oc podman runc skopeo"
_INTERPRETERS: Final = """
    R awk bun cling clojure cpan dc deno elixir emacs erl ex gawk gem ghci gimp gmake go groovy gsed guile iex
    ipython irb java jjs jruby jrunscript jshell julia jython kotlin lua luajit m4 make mawk mongo mongosh
    mysql mysqlsh nawk node nodejs npm npx ocaml octave pdb perl php pip psql puppet pypy python racket rails
    rake redis-cli rscript ruby sbcl scala sed sqlite sqlplus swift swipl tclsh ts-node wish yarn
"""
_EDITORS_AND_PAGERS: Final = """
    ed emacs ex joe less man micro more most nano nvim pico rview rvim vi view vim vimdiff
"""
_BY_OPTIONS: Final = """
    7z apt apt-get aptitude bsdtar cpio cpulimit crontab curl dnf dpkg find fzf gcc git gtar hg nc ncat netcat
    openssl rpm rsync scp sftp socat svn systemctl tar tcpdump telnet wget yum zip
"""

RUNS_ARGUMENTS: Final = frozenset(
    word.casefold()
    for words in (_SHELLS, _BOXES, _LAUNCHERS, _INTERPRETERS, _EDITORS_AND_PAGERS)
    for word in words.split()
)
"""Their plain arguments are code, or another command."""

RUNS_BY_OPTIONS: Final = frozenset(f"{_BY_OPTIONS} {_CONTAINERS}".split())
"""Some option or word of theirs starts another program, writes any file, or calls out."""

_VERSION: Final = re.compile(r"[-.0-9]+\Z")
_STEM_END: Final = re.compile(r"[-._0-9]")
_ENDINGS: Final = (".exe", ".com", ".bat", ".cmd", ".ps1")


def program_of(word: str) -> str:
    """The name of a program behind its path, in lower case, without the ending that Windows gives it."""
    name = word.replace("\\", "/").rpartition("/")[2].casefold()
    return next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)


def runs_arguments(word: str) -> bool:
    """Whether the program is known to take code or commands for arguments; `python3.11` is `python`."""
    name = program_of(word)
    return name in RUNS_ARGUMENTS or _VERSION.sub("", name) in RUNS_ARGUMENTS


def runs_by_options(word: str) -> bool:
    """Whether options of the program are known to do more than it is for."""
    return program_of(word) in RUNS_BY_OPTIONS


def may_run_others(word: str) -> bool:
    """Whether the program might run others, as far as its name tells; in doubt (`bash-static`, a script) it might."""
    name = program_of(word)
    stem = _STEM_END.split(name, 1)[0]
    known = RUNS_ARGUMENTS | RUNS_BY_OPTIONS
    return name.endswith((".sh", ".py", ".pl", ".rb")) or runs_arguments(word) or name in known or stem in known
