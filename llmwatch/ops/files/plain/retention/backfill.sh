#!/bin/sh
# Computes the hours or the days of the past again, from what a server still has, into blocks for the server that keeps
# them: after an outage of Prometheus, or to begin with what was there before these rules.
#
#   retention/backfill.sh hourly SOURCE_URL FROM TO OUTPUT_DIR      SOURCE_URL has the metrics as they are scraped
#   retention/backfill.sh daily  SOURCE_URL FROM TO OUTPUT_DIR      SOURCE_URL has the hours: do these first
#
# FROM and TO are RFC 3339 or Unix seconds; end at a full hour, and at least three hours ago. OUTPUT_DIR is the data
# folder of the server that keeps them, which takes the blocks in at its next compaction or start; their owner must be
# the server's user. Values that are there already are not made twice in a query, as their times differ by less than
# the interval: sum over one source, or fill only what is missing.
set -eu
[ $# -eq 5 ] || { sed -n '2,/^set/ s/^# \{0,1\}//p' "$0"; exit 2; }
rules=$(mktemp)
trap 'rm -f "$rules"' EXIT
# Of a group of days, promtool would write nothing at all: it works in pieces of two hours. So a day's sum is made at
# each hour, the last 24 hours' one.
sed 's/interval: 1d/interval: 1h/' "$(dirname "$0")/../prometheus/rules/llmwatch-$1.yml" >"$rules"
promtool tsdb create-blocks-from rules --url "$2" --start "$3" --end "$4" --output-dir "$5" "$rules"
