#!/bin/sh
# A CGI program: it says who asks for what.
printf 'Content-Type: text/plain\n\n'
printf 'hello %s, this is %s over %s\n' "$REMOTE_ADDR" "$SERVER_NAME" "$SSL_PROTOCOL"
printf 'method %s, path %s, query %s\n' "$REQUEST_METHOD" "$PATH_INFO" "$QUERY_STRING"
printf 'body: '
cat
echo
