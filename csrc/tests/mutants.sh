#!/bin/sh
# Shows that the tests find a core that was made wrong on purpose: each mutant is one edit of a copy of the sources, and
# one of the tests must fail on it. Fails when a mutant survives, or when an edit no longer finds its line.
#   csrc/tests/mutants.sh [NAME]
set -u
cd "$(dirname "$0")/.." || exit 2
work=build/mutants
only=${1:-}
survivors=0
rm -rf "$work"
printf '%-34s %-22s %s\n' mutant "test" outcome

# mutant NAME FILE SED-SCRIPT FLAVOUR/TEST
mutant() {
    [ -z "$only" ] || [ "$only" = "$1" ] || return 0
    tree=$work/$(echo "$1" | tr ' ' -)
    mkdir -p "$tree/tests"
    cp ./*.c ./*.h Makefile "$tree/"
    cp tests/*.c tests/*.h "$tree/tests/"
    sed -i "$3" "$tree/$2"
    if cmp -s "$2" "$tree/$2"; then
        printf '%-34s %-22s %s\n' "$1" "$4" "NOT MADE: its line is gone from $2"
        survivors=$((survivors + 1))
        return 0
    fi
    if ! make -s -C "$tree" "build/${4%/*}/test_${4#*/}" >"$tree/log" 2>&1; then
        printf '%-34s %-22s %s\n' "$1" "$4" "NOT BUILT: see csrc/$tree/log"
        survivors=$((survivors + 1))
        return 0
    fi
    still=
    [ "${4%/*}" = tsan ] && setarch -R true 2>/dev/null && still="setarch -R"
    # shellcheck disable=SC2086
    if (cd "$tree" && timeout -k 5 90 $still "./build/${4%/*}/test_${4#*/}" >>log 2>&1); then
        printf '%-34s %-22s %s\n' "$1" "$4" SURVIVED
        survivors=$((survivors + 1))
    else
        printf '%-34s %-22s %s\n' "$1" "$4" found
    fi
    rm -rf "$tree"
}

mutant "publish relaxed" producer.c \
    's/store_seq_cst(&header->tail, producer->tail)/store_relaxed(\&header->tail, producer->tail)/' tsan/threads
mutant "release relaxed" consumer.c \
    's/store_seq_cst(&header->head, position)/store_relaxed(\&header->head, position)/' tsan/threads
mutant "tail before the bytes" producer.c \
    '/stage_many(struct kr_producer/,/^}/ s/^\( *\)int ahead = /\1store_release(\&producer->header->tail, producer->staged + alike * span);\n&/' tsan/threads
mutant "tail read relaxed" consumer.c \
    's/uint64_t tail = load_acquire(&consumer->header->tail)/uint64_t tail = load_relaxed(\&consumer->header->tail)/' tsan/threads
mutant "head read relaxed" producer.c \
    's/load_acquire(&producer->header->head)/load_relaxed(\&producer->header->head)/' tsan/threads
mutant "no request before the sleep" consumer_wait.c \
    's/store_seq_cst(&consumer->header->data_request, ++consumer->data_request)/(void)0/' plain/doorbell
mutant "no look after the request" consumer_wait.c \
    's/if (load_seq_cst(&consumer->header->tail) != consumer->drained)/if (0)/' plain/stress
mutant "the dead count as alive" ring.h \
    's/return (word & KR_ROLE_DEAD) ? KR_E_PEER_DEAD : 0;/return 0;/' plain/roles
mutant "a length is believed" consumer.c \
    's/if (kr_record_span(out->length) > available)/if (0)/' plain/consumer
mutant "a byte for every publish" producer.c \
    's/if (request != producer->data_reply)/if (1)/' plain/doorbell

rm -rf "$work"
[ "$survivors" -eq 0 ] || { echo "$survivors mutants were not found"; exit 1; }
echo "all mutants were found"
