complete -c tlssrv -s c -l cert -d 'Certificate chain in PEM, leaf first, with its key unless --key follows; may repeat, for a second type of key' -r -F
complete -c tlssrv -l key -d 'Private key in PEM of the --cert before it' -r -F
complete -c tlssrv -l key-password -d 'File with the password of the encrypted keys; several passwords in lines' -r -F
complete -c tlssrv -s k -l psk -d 'Pre-shared keys: a file of lines identity:hexkey[:user[:hash]] or identity:text:key, or \'file=FILE id=IDENTITY\' for one identity of it' -r
complete -c tlssrv -s l -l log -d 'Log to syslog under this tag or, when there is a / in it, to this file [default: stderr]' -r
complete -c tlssrv -s r -l remote -d 'Name of the remote system, for reports and TCPREMOTEHOST' -r
complete -c tlssrv -l listen -d 'Listen on HOST:PORT, [IPV6]:PORT, :PORT, unix:PATH, or the sockets that systemd passes: systemd:NAME, or systemd for all; may repeat; port 0 picks one' -r
complete -c tlssrv -l self-signed -d 'Make a throw-away certificate for NAME, to try things out' -r
complete -c tlssrv -s f -l config -d 'Serve the virtual hosts of this TOML file' -r -F
complete -c tlssrv -l explain -d 'Print which host a client gets that asks for NAME, and why; \'\' for a client that sends none' -r
complete -c tlssrv -l alpn -d 'With --explain: a protocol that the client offers (ALPN); may repeat, the most preferred first' -r
complete -c tlssrv -l completions -d 'Print a script that completes command lines of tlssrv in this shell' -r -f -a "bash\t''
zsh\t''
fish\t''"
complete -c tlssrv -s D -l debug -d 'Trace handshakes'
complete -c tlssrv -s a -d 'Authenticate by pre-shared key alone, and run CMD as the user that the file gives for the identity'
complete -c tlssrv -s A -d 'Authenticate by pre-shared key alone, and don\'t change user'
complete -c tlssrv -l quiet -d 'Log warnings and errors only'
complete -c tlssrv -l new-privileges -d 'Let CMD gain privileges by set-user-ID programs'
complete -c tlssrv -l check -d 'Check everything, print every problem, start nothing'
complete -c tlssrv -l reload -d 'With --config: have the server that runs with this table read it anew, and say what it says'
complete -c tlssrv -l status -d 'With --config: print how the server goes that has this table: its hosts, and the connections that are open'
complete -c tlssrv -l inetd -d 'With --config: serve the one connection on descriptor 0'
complete -c tlssrv -s h -l help -d 'Print help'
complete -c tlssrv -s V -l version -d 'Print version'
