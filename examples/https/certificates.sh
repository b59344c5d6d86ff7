#!/bin/sh
# Certificates to try the example with: an authority, two names, and a client. Good for 30 days.
set -eu
mkdir -p tls && cd tls
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout "$1.key" -out "$1.crt" \
        -subj "/CN=$1 of the example" -addext keyUsage=critical,keyCertSign 2>/dev/null
}
sign() {  # NAME AUTHORITY SUBJECT_ALT_NAME
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3" > extensions
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$1" -out request 2>/dev/null
    openssl x509 -req -in request -days 30 -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -extfile extensions -out "$1.crt" 2>/dev/null
    rm -f request extensions
}
authority ca
authority clients
sign shop ca DNS:shop.localhost
sign admin ca DNS:admin.localhost
sign ann clients email:ann@example.com
