#!/usr/bin/env python3
"""check_layers.py [BUILDDIR]: the structure rules, as TAP and a last line "N passed, N failed, N skipped".

* Layers: a module includes only what the "uses" column allows (USES below); programs never include each other.
* Database: SQLite is behind the store, the bus's spool and the notifier's queue, and nothing above them knows it.
* Size: no source file is longer than MAX_LINES, or what MAX_LINES_OF allows it.
* Headers: each compiles alone, with the flags that its module is built with.
* Paths: no file holds a path of the machine it was written on, nor a leftover of a merge.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parents[2]
MAX_LINES = 900
# One contract is one file: its readers take one, and a route is looked up in one place.
MAX_LINES_OF = {"api/openapi.yaml": 3000, "ui/src/api/openapi.ts": 3000}  # the second is made of the first

# Module: what it may include besides itself. "event" brings what event itself uses, and so on.
USES = {
    "base": set(),
    "event": {"base"},
    "process": {"event"},
    "rules": {"event"},
    "container": {"base"},
    "model": {"event"},
    "incident": {"event"},
    "response": {"event", "container"},
    "policy": {"response", "rules", "model", "incident"},
    "graph": {"event", "container"},
    "recorder": {"event"},
    "evidence": {"base"},
    "notify": {"base"},
    "store": {"event"},
    "bus": {"base"},
    "parse": {"base"},
}
PROGRAMS = {"sensor", "inspect", "analyzer", "central", "cli", "decoy"}
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.M)
SOURCE_SUFFIXES = {".c", ".h", ".py", ".ts", ".tsx", ".css", ".sh", ".build", ".proto", ".yaml", ".yml"}
SCRIPTS_WITHOUT_SUFFIX = {"dev", "run", "suite", "counts"}
PKGS = ("glib-2.0", "gio-unix-2.0", "jansson", "libbpf", "libzstd", "libxxhash", "libcurl", "libprotobuf-c", "libcap")


def allowed(module):
    """Everything that `module` may include, transitively."""
    if module in PROGRAMS:
        return set(USES) | {module}
    out, todo = {module}, [module]
    while todo:
        for used in USES[todo.pop()]:
            if used not in out:
                out.add(used)
                todo.append(used)
    return out


def project_files():
    """Tracked files and new ones that are not ignored; the whole tree where there is no git."""
    try:
        out = subprocess.run(["git", "-c", f"safe.directory={REPO}", "-C", str(REPO), "ls-files", "-z", "--cached", "--others",
                              "--exclude-standard"], check=True, capture_output=True).stdout
        paths = [REPO / p for p in out.decode(errors="surrogateescape").split("\0") if p]
    except (OSError, subprocess.CalledProcessError):
        paths = [p for p in REPO.rglob("*") if not any(
            part.startswith("build") or part in (".git", "kernels", "node_modules", "__pycache__") for part in p.relative_to(REPO).parts[:-1])]
    return sorted(p for p in paths if p.is_file() and not p.is_symlink())


# Whose own files are SQLite's: another store or bus brings other ones, and what is above them knows neither.
SQLITE = {"store/sqlite_private.h", "bus/spool.c", "notify/queue.c"}
SQLITE_NAME = re.compile(r"\bsqlite3_\w+|\bSQLITE_[A-Z]\w*\b|[<\"]sqlite3?\.h[>\"]")


def check_database(path):
    """Nothing of a particular database above the modules whose files it keeps; in the store itself only in db_sqlite.c and sqlite_*."""
    name = str(path.relative_to(REPO / "src"))
    if name in SQLITE or path.name.startswith(("sqlite_", "db_sqlite")):
        return []
    text = re.sub(r'"SQLITE_TMPDIR"', "", path.read_text(errors="replace"))  # a place for temporary files, of the whole process
    return [f"has {m.group(0)}, which belongs behind the store" for m in SQLITE_NAME.finditer(text)][:1]


def check_layer(path):
    """Problems of one file of src/: includes of modules that its own may not use."""
    module = path.relative_to(REPO / "src").parts[0]
    if module not in USES and module not in PROGRAMS:
        return [f"module {module} is not in the table of layers in {pathlib.Path(__file__).name}"]
    known = set(USES) | PROGRAMS
    problems = []
    for name in INCLUDE.findall(path.read_text(errors="replace")):
        if name.startswith("../") or "/../" in name:
            problems.append(f'includes "{name}": write "module/header.h"')
            continue
        target = name.split("/")[0] if "/" in name else None
        if target in known and target not in allowed(module) and (REPO / "src" / name).exists():
            problems.append(f'includes "{name}": {module} may use {", ".join(sorted(allowed(module) - {module})) or "nothing"}')
    return problems


def check_meson(path):
    """A module's meson.build must not depend on a module that its sources may not include."""
    module = path.parent.name
    if module not in USES:
        return [f"depends on the program {p}" for p in PROGRAMS - {module} if f"{p}_dep" in re.findall(r"\w+", path.read_text())]
    words = set(re.findall(r"\b(\w+)_dep\b", path.read_text()))
    return [f"depends on {w}_dep" for w in sorted(words & ((set(USES) | PROGRAMS) - allowed(module)))]


def check_length(path):
    lines = path.read_bytes().count(b"\n")
    most = MAX_LINES_OF.get(str(path.relative_to(REPO)), MAX_LINES)
    return [f"{lines} lines, at most {most}"] if lines > most else []


def make_path_check():
    """Absolute paths of the machine: this checkout's own place, and people's home directories."""
    patterns = [re.compile(r"(?<![\w.$}])/(?:home|Users)/[a-z][\w.-]*/")]
    if len(REPO.parts) > 2:
        patterns.append(re.compile(r"(?<![\w.$}])" + re.escape(str(REPO)) + r"(?![\w-])"))
    merge = re.compile(r"^(<{7} |>{7} |={7}$)", re.M)

    def check(path):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            return []
        hits = [m.group(0) for p in patterns for m in p.finditer(text)]
        return [f"holds the path {h}" for h in sorted(set(hits))] + (["holds a merge conflict"] if merge.search(text) else [])
    return check


def compile_flags(build):
    """Module directory -> the compiler flags that its first source file is built with, from the build itself."""
    flags = {}
    database = build / "compile_commands.json"
    if not database.exists():
        return flags
    for entry in json.loads(database.read_text()):
        source = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        keep = []
        for word in shlex.split(entry["command"]):
            if re.match(r"-(I|isystem|D|std=|f(?!sanitize)|W)", word):
                keep.append(word)
        flags.setdefault(str(source.parent), (entry["directory"], keep))
    return flags


def pkg_config_flags():
    out = subprocess.run(["pkg-config", "--cflags", *PKGS], capture_output=True, text=True)
    return out.stdout.split() + ["-D_GNU_SOURCE", "-std=gnu17", f"-I{REPO}/src", f"-I{REPO}/bpf/include"]


def make_header_check(build):
    flags = compile_flags(build)
    fallback = pkg_config_flags() + [f"-I{build}/src", f"-I{build}/bpf", f"-I{build}/bpf/include"]

    def compile_alone(path, compiler, where, words):
        # Through stdin, so that "pragma once in main file" and the like do not matter.
        return subprocess.run([*compiler, "-fsyntax-only", *words, "-x", "c", "-"], cwd=where, capture_output=True, text=True,
                              input=f'#include "{path}"\nextern int nothing_else;\n')

    def check(path):
        where, words = flags.get(str(path.parent), (str(build if build.exists() else REPO), fallback))
        first = compile_alone(path, ["gcc", "-Wall", "-Werror", "-Wno-unused-function"], where, words)
        if first.returncode == 0:
            return []
        if (REPO / "bpf") in path.parents:  # for the kernel side only: another compiler, another world
            bpf = compile_alone(path, ["clang", "-target", "bpf", "-O2", "-g", "-D__TARGET_ARCH_x86"], where,
                                [f"-I{REPO}/bpf/include", f"-I{REPO}/bpf", "-I/usr/include/x86_64-linux-gnu"])
            if bpf.returncode == 0:
                return []
            if "bpf_helpers.h" in path.read_text() or "preserve_access_index" in path.read_text():
                first = bpf
        return ["does not compile alone:"] + first.stderr.splitlines()[:8]
    return check


def main():
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else REPO / "build").resolve()
    files = project_files()
    src = [p for p in files if (REPO / "src") in p.parents]
    code = [p for p in files if p.suffix in SOURCE_SUFFIXES or (p.name in SCRIPTS_WITHOUT_SUFFIX and os.access(p, os.X_OK))]
    headers = [p for p in files if p.suffix == ".h" and not p.name.endswith(".tbl.h") and
               (REPO / "tests") not in p.parents]
    work = ([("layers", check_layer, p) for p in src if p.suffix in (".c", ".h")] +
            [("layers of the build", check_meson, p) for p in src if p.name == "meson.build" and p.parent.parent == REPO / "src"] +
            [("database", check_database, p) for p in src if p.suffix in (".c", ".h")] +
            [("length", check_length, p) for p in code] +
            [("paths", make_path_check(), p) for p in files] +
            [("header alone", make_header_check(build), p) for p in headers])
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda item: item[1](item[2]), work))
    failed = 0
    for number, ((name, _, path), problems) in enumerate(zip(work, results), 1):
        if problems:
            failed += 1
            print(f"not ok {number} - {name}: {path.relative_to(REPO)}")
            for p in problems:
                print(f"# {p}")
        else:
            print(f"ok {number} - {name}: {path.relative_to(REPO)}")
    print(f"1..{len(work)}")
    print(f"{len(work) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not work else 0


if __name__ == "__main__":
    sys.exit(main())
