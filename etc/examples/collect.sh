#!/bin/sh
# Appends what a device sends, line by line and with the time, to a file of its own in $SPOOL, and says how many
# lines that were.
set -eu
case $TLSSRV_PSK_IDENTITY in
*[!a-z0-9-]*)
    echo 'a device has a name of small letters, digits and dashes' >&2
    exit 1
    ;;
esac
count=0
while IFS= read -r line; do
    printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$line" >>"${SPOOL:?}/$TLSSRV_PSK_IDENTITY"
    count=$((count + 1))
done
echo "$count"
