#!/bin/sh
# Print the path of a Python 3.12 or later that can create virtual environments; if there is none, say what to do.
# If $PYTHON is set, it is the only candidate.
set -u

usable='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))'

if [ -n "${PYTHON:-}" ]; then
    candidates=$PYTHON
else
    candidates="python3.12 python3.13 python3.14 python3 python"
    for root in "${PYENV_ROOT:-$HOME/.pyenv}/versions" "${XDG_DATA_HOME:-$HOME/.local/share}/uv/python" /opt/homebrew/opt; do
        candidates="$candidates $(ls -d "$root"/*3.12*/bin/python3 "$root"/*3.1[3-9]*/bin/python3 2>/dev/null | tr '\n' ' ')"
    done
fi

without_venv=
for candidate in $candidates; do
    path=$(command -v "$candidate") || continue
    if "$path" -c "$usable" >/dev/null 2>&1; then
        printf '%s\n' "$path"
        exit 0
    fi
    if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then
        without_venv=$path
    fi
done

if [ -n "$without_venv" ]; then
    echo "$without_venv is new enough, but its venv module is missing. Install it (Debian and Ubuntu: apt install" \
        "python3-venv), or name another Python: make PYTHON=/path/to/python3.12 ..." >&2
elif [ -n "${PYTHON:-}" ]; then
    echo "PYTHON=$PYTHON is not a Python 3.12 or later." >&2
else
    echo "vsparagon needs Python 3.12 or later, and none was found. Install one (apt install python3.12 python3.12-venv," \
        "brew install python@3.12, pyenv install 3.12 or uv python install 3.12)," \
        "or name it: make PYTHON=/path/to/python3.12 ..." >&2
fi
exit 1
