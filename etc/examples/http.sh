#!/bin/sh
# http.sh PROGRAM [ARGUMENT…]: an HTTP/1.1 server for one request, on descriptors 0 and 1, that PROGRAM answers
# by CGI (RFC 3875). It reads the body of the request from its descriptor 0, and no further than that.
set -eu
return=$(printf '\r')

# read_line: the next line, without its end, in $line.
read_line() {
    IFS= read -r line || exit 0
    line=${line%"$return"}
}

refuse() {
    printf 'HTTP/1.1 %s\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n%s\n' "$1" "$1"
    exit 0
}

read_line
request=$line
method=${request%% *}
target=${request#* }
version=${target#* }
target=${target%% *}
case $version in
HTTP/1.[01]) ;;
*) refuse '505 HTTP Version Not Supported' ;;
esac
case $method in
GET | HEAD | POST) ;;
*) refuse '501 Not Implemented' ;;
esac
case $target in
/*) ;;
*) refuse '400 Bad Request' ;;
esac

length=
host=
type=
headers=0
while read_line && [ -n "$line" ]; do
    headers=$((headers + 1))
    [ "$headers" -le 100 ] || refuse '431 Request Header Fields Too Large'
    name=$(printf '%s' "${line%%:*}" | tr 'A-Z' 'a-z')
    value=${line#*:}
    value=${value# }
    case $name in
    content-length) length=$value ;;
    content-type) type=$value ;;
    host) host=$value ;;
    transfer-encoding) refuse '411 Length Required' ;;
    esac
done
case $length in
*[!0-9]*) refuse '400 Bad Request' ;;
esac

query=${target#*\?}
[ "$query" != "$target" ] || query=
export GATEWAY_INTERFACE=CGI/1.1 SERVER_SOFTWARE=http.sh SERVER_PROTOCOL="$version" HTTPS=on
export SERVER_NAME="${TLSSRV_HOST:-localhost}" SERVER_PORT="${TCPLOCALPORT:-443}" HTTP_HOST="$host"
export REQUEST_METHOD="$method" SCRIPT_NAME= PATH_INFO="${target%%\?*}" QUERY_STRING="$query"
export CONTENT_LENGTH="$length" CONTENT_TYPE="$type"

head -c "${length:-0}" | "$@" | {
    status='200 OK'
    fields=
    while read_line && [ -n "$line" ]; do
        case $line in
        [Ss]tatus:*) status=${line#*:} status=${status# } ;;
        *) fields="$fields$line$return
" ;;
        esac
    done
    printf 'HTTP/1.1 %s\r\n%sConnection: close\r\n\r\n' "$status" "$fields"
    [ "$method" = HEAD ] || cat
}
