#!/bin/sh
# A gopher server (RFC 1436) for one request, on descriptors 0 and 1: it sends a file under $GOPHER_ROOT as it
# is, or lists a directory. Hidden files, and what is above the root, are not there.
set -eu
root=${GOPHER_ROOT:?}
tab=$(printf '\t')
return=$(printf '\r')

IFS= read -r selector || [ -n "$selector" ] || exit 0
selector=${selector%"$return"}
selector=${selector%%"$tab"*}           # a search, which nothing here understands
selector=/${selector#/}

missing() {
    printf '3not found\t\terror.host\t1\r\n.\r\n'
    exit 0
}

case $selector in
*/.*) missing ;;
esac
path=$root${selector%/}
if [ -f "$path" ]; then
    exec cat -- "$path"
fi
[ -d "$path" ] || missing

for entry in "$path"/*; do
    [ -e "$entry" ] || continue
    name=${entry##*/}
    case $name in
    *"$tab"*) continue ;;
    *.txt) type=0 ;;
    *) type=9 ;;
    esac
    [ ! -d "$entry" ] || type=1
    printf '%s%s\t%s/%s\t%s\t%s\r\n' "$type" "$name" "${selector%/}" "$name" "$TLSSRV_HOST" "$TCPLOCALPORT"
done
printf '.\r\n'
