#!/bin/sh
# Calls a signed API with curl and openssl.
#
#   PORTCULLIS_KEY_ID=008j4ct4ank7f24s PORTCULLIS_SECRET_FILE=billing.pch \
#     ./sign.sh POST https://api.example.com/v1/transfers '{"amount":1250,"to":"acct_7"}'
#
# PORTCULLIS_SCHEME=pc1 signs by the simple scheme instead of by portcullis-v1 (RFC 9421); PORTCULLIS_CA_FILE names a
# certificate authority of your own. Needs a POSIX shell, awk, od, curl and openssl.
#
# openssl takes the key as an argument, so other users of the machine may see it in the list of processes: for a machine
# that you share, use one of the other clients.
set -eu

method=$1
url=$2
body=${3-}
key_id=${PORTCULLIS_KEY_ID:?the public id of your key}
secret_file=${PORTCULLIS_SECRET_FILE:?the file with your pch_… secret}
scheme=${PORTCULLIS_SCHEME:-portcullis-v1}
type='application/json'

# The secret's 43 digits in base62 are 32 bytes: those are the key, never the text.
key=$(awk '{
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    text = substr($0, 5, 43)
    for (i = 0; i < 32; i++) bytes[i] = 0
    for (at = 1; at <= 43; at++) {
        carry = index(digits, substr(text, at, 1)) - 1
        for (i = 31; i >= 0; i--) {
            carry += bytes[i] * 62
            bytes[i] = carry % 256
            carry = int(carry / 256)
        }
    }
    for (i = 0; i < 32; i++) printf "%02x", bytes[i]
    exit
}' "$secret_file")

# Scheme, authority, path and query exactly as they go over the wire; the authority in lower case and without the
# scheme's own port.
protocol=${url%%://*}
rest=${url#*://}
authority=${rest%%[/?]*}
target=${rest#"$authority"}
path=${target%%\?*}
query=
case $target in *\?*) query=${target#*\?} ;; esac
[ -n "$path" ] || path=/
authority=$(printf %s "$authority" | tr 'A-Z' 'a-z')
case $protocol in
https) authority=${authority%:443} ;;
http) authority=${authority%:80} ;;
esac

now=$(date +%s)
nonce=$(openssl rand -hex 16)

# A body that ends in a line feed would lose it in a variable: this client is for bodies that do not.
hmac() { openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary; }
hex() { od -An -v -tx1 | tr -d ' \n'; }
base64() { openssl base64 -A; }

set -- --silent --show-error --request "$method"
[ -z "${PORTCULLIS_CA_FILE-}" ] || set -- "$@" --cacert "$PORTCULLIS_CA_FILE"
[ -z "$body" ] || set -- "$@" --data-binary "$body" --header "Content-Type: $type"

if [ "$scheme" = pc1 ]; then
    hash=$(printf %s "$body" | openssl dgst -sha256 -binary | hex)
    told=
    signed_type=
    [ -z "$body" ] || { told="b=$hash;"; signed_type=$type; }
    mac=$(printf 'PC1-HMAC-SHA256\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s' \
        "$now" "$nonce" "$method" "$authority" "$path" "$query" "$signed_type" "$hash" | hmac | hex)
    set -- "$@" --header "X-PC-Signature: v1;k=$key_id;t=$now;n=$nonce;${told}s=$mac"
else
    components='"@method" "@authority" "@path" "@query"'
    base=$(printf '"@method": %s\n"@authority": %s\n"@path": %s\n"@query": ?%s' "$method" "$authority" "$path" "$query")
    if [ -n "$body" ]; then
        digest="sha-256=:$(printf %s "$body" | openssl dgst -sha256 -binary | base64):"
        components="$components \"content-digest\" \"content-type\""
        base=$(printf '%s\n"content-digest": %s\n"content-type": %s' "$base" "$digest" "$type")
        set -- "$@" --header "Content-Digest: $digest"
    fi
    parameters="($components);created=$now;keyid=\"$key_id\";nonce=\"$nonce\";alg=\"hmac-sha256\";tag=\"portcullis-v1\""
    signature=$(printf '%s\n"@signature-params": %s' "$base" "$parameters" | hmac | base64)
    set -- "$@" --header "Signature-Input: sig1=$parameters" --header "Signature: sig1=:$signature:"
fi

exec curl "$@" --path-as-is --write-out '\n%{http_code}\n' "$url"
