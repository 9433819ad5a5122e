#!/bin/sh
# Writes constraints-lowest.txt and constraints-newest.txt: the lower ends of the ranges in pyproject.toml, and the newest
# that resolve, for Python 3.11 on Linux. `make ranges` calls it with the uv to use.
set -eu
uv=$1
hand=$(mktemp)
trap 'rm -f "$hand"' EXIT
# torch stays at the build of constraints.txt. Lower ends of starlette, typer and matplotlib warn with later releases of what they need.
grep '^torch==' constraints.txt > "$hand"
for end in lowest newest; do
    how=highest
    if [ $end = lowest ]; then
        how=lowest-direct
        printf 'anyio<4.13\nclick<8.4\npyparsing<3.3\n' >> "$hand"
    else
        grep '^torch==' constraints.txt > "$hand"
    fi
    {
        echo "# Written by 'make ranges': the $end versions that pyproject.toml allows; 'make test-$end' installs them."
        "$uv" pip compile --quiet --only-binary :all: --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
            --resolution $how --extra dev --constraint "$hand" --no-annotate --no-header pyproject.toml |
            grep -Ev '^(nvidia-|cuda-|triton=)'
    } > constraints-$end.txt.new
    mv constraints-$end.txt.new constraints-$end.txt
done
