#!/bin/sh
# Makes the core wrong on purpose, one mutant at a time, and shows which test finds it. Run by `make mutants`, which
# passes CC, COMMON, CORE and the flags of each flavour. Fails when no test finds a mutant that must be found, when an
# edit no longer matches, or when a test fails on the unchanged core. MUTANTS: the names to make. Empty: all.
set -u
ok=0 lost=0 survived=0 passed=
rm -rf build/mutants
mkdir -p build/mutants
export CHECK_SECONDS=10

flags_of() { eval "printf %s \"\$${1}_FLAGS\""; }

# Runs FLAVOUR:TEST[:CASE] with the binary in directory $2. Output goes to $2/log.
run() {
    flavour=${1%%:*} rest=${1#*:}
    test=${rest%%:*} case=
    [ "$rest" = "$test" ] || case=${rest#*:}
    still=
    [ "$flavour" = tsan ] && still=$STILL
    timeout -k 2 30 $still "$2/$flavour-$test" $case >"$2/log" 2>&1
}

link() { # FLAVOUR TEST DIRECTORY OBJECTS-OF-THE-CORE
    support=
    case $2 in steps | kills) more=stepped ;; *) more= ;; esac
    for part in $SUPPORT $more; do support="$support build/$1/$part.o"; done
    $CC -g $(flags_of "$1") -pthread -o "$3/$1-$2" "build/$1/test_$2.o" $support $4 -lrt -ldl
}

# The unchanged core must pass each test that a mutant is run with. Checked once for each test.
baseline() {
    dir_of_none=build/mutants/none
    mkdir -p "$dir_of_none"
    case " $passed " in *" $1 "*) return ;; esac
    flavour=${1%%:*} rest=${1#*:}
    test=${rest%%:*} objects=
    for part in $CORE; do objects="$objects build/$flavour/$part.o"; done
    [ -x "$dir_of_none/$flavour-$test" ] || link "$flavour" "$test" "$dir_of_none" "$objects" || exit 1
    run "$1" "$dir_of_none" || {
        echo "$1 fails on the core as it is:"
        cat "$dir_of_none/log"
        exit 1
    }
    passed="$passed $1"
}

# mutant NAME must|may FILE SED-SCRIPT RUN...
mutant() {
    name=$1 weight=$2 file=$3 edit=$4
    shift 4
    case " ${MUTANTS:-$name} " in
    *" $name "*) ;;
    *) return ;;
    esac
    dir=build/mutants/$name
    rm -rf "$dir"
    mkdir -p "$dir"
    mkdir -p "$dir/${file%/*}"
    sed "$edit" "$file" >"$dir/$file"
    if cmp -s "$file" "$dir/$file"; then
        printf '%-46s EDIT MATCHES NOTHING in %s\n' "$name" "$file"
        lost=$((lost + 1))
        return
    fi
    found=
    for wanted in "$@"; do
        baseline "$wanted"
        flavour=${wanted%%:*} rest=${wanted#*:}
        test=${rest%%:*}
        if [ ! -x "$dir/$flavour-$test" ]; then
            objects=
            for part in $CORE; do
                source=$(echo ring/"$part".c* inbox/"$part".c* wire/"$part".c* | tr ' ' '\n' | grep -v '\*')
                [ "$source" = "$file" ] && source=$dir/$file
                # A changed header goes before the one in its place, for every file.
                if [ "$source" = "$dir/$file" ] || [ "${file%.h}" != "$file" ]; then
                    $CC -I"$dir" $COMMON -w $(flags_of "$flavour") -c -o "$dir/$flavour-$part.o" "$source" || exit 1
                    objects="$objects $dir/$flavour-$part.o"
                else
                    objects="$objects build/$flavour/$part.o"
                fi
            done
            link "$flavour" "$test" "$dir" "$objects" || exit 1
        fi
        if ! run "$wanted" "$dir"; then
            found=$wanted
            break
        fi
    done
    if [ -n "$found" ]; then
        printf '%-46s found by %s\n' "$name" "$found"
        ok=$((ok + 1))
    elif [ "$weight" = must ]; then
        printf '%-46s SURVIVED, and must not\n' "$name"
        lost=$((lost + 1))
    else
        printf '%-46s survived\n' "$name"
        survived=$((survived + 1))
    fi
    rm -rf "$dir"
}

# Memory order. Most of these do no harm on an x86-64 processor, but the thread sanitizer sees them.
mutant publish_relaxed must ring/producer.c 's/store_seq_cst(&header->tail, producer->tail)/store_relaxed(\&header->tail, producer->tail)/' \
    tsan:threads:records_written_one_by_one_arrive_whole
mutant release_relaxed must ring/consumer.c 's/store_seq_cst(&header->head, position)/store_relaxed(\&header->head, position)/' \
    tsan:threads:records_written_one_by_one_arrive_whole
mutant drain_reads_tail_relaxed must ring/consumer.c 's/load_acquire(&consumer->header->tail)/load_relaxed(\&consumer->header->tail)/' \
    tsan:threads:records_written_one_by_one_arrive_whole
mutant room_reads_head_relaxed must ring/producer.c 's/load_acquire(&producer->header->head)/load_relaxed(\&producer->header->head)/' \
    tsan:threads:records_written_one_by_one_arrive_whole
mutant tail_before_the_bytes must ring/producer.c \
    '/stage_many(struct kr_producer/,/^}/ s/^\( *\)int ahead = /\1store_release(\&producer->header->tail, producer->staged + alike * span);\n&/' \
    tsan:threads:records_written_one_by_one_arrive_whole
mutant head_before_the_reading must ring/consumer.c \
    's/^    consumer->drained = position;$/& store_seq_cst(\&consumer->header->head, position);/' \
    tsan:threads:records_written_one_by_one_arrive_whole
mutant closed_asked_before_the_lock must ring/consumer.c \
    '/pthread_mutex_lock(&consumer->lock);/{N;s/\( *pthread_mutex_lock(&consumer->lock);\)\n\( *int refused = .*\)/\2\n\1/}' \
    tsan:threads:every_function_may_be_called_from_any_thread

# Sleep and wake: the other side moves at every instruction of one side.
mutant look_before_the_request must ring/consumer_wait.c \
    '/^            kr_consumer_arm(consumer);$/{N;s/\(.*\)\n\(.*\)/\2\n\1/}' plain:steps
mutant look_before_the_clearing must ring/consumer_wait.c \
    's/^            found = look(consumer);$/& kr_bell_clear(consumer->data_bell);/' plain:steps
mutant request_read_before_tail_is_stored must ring/producer.c \
    '/store_seq_cst(&header->tail, producer->tail);/{N;s/\(.*\)\n\(.*\)/\2\n\1/}' plain:steps
mutant space_looked_at_before_the_request must ring/producer_wait.c \
    '/store_seq_cst(&header->space_request/d;/return producer->capacity - (producer->staged - producer->head_cache) >= wanted;/s/return \(.*\);/int fits = \1; store_seq_cst(\&header->space_request, ++producer->space_request); return fits;/' \
    plain:steps
mutant space_looked_at_before_the_clearing must ring/producer_wait.c \
    's/^            ready = kr_producer_arm(producer, wanted);$/& kr_bell_clear(producer->space_bell);/' plain:steps
mutant space_request_read_before_head_is_stored must ring/consumer.c \
    '/store_seq_cst(&header->head, position);/{N;s/\(.*\)\n\(.*\)/\2\n\1/}' plain:steps
mutant the_pump_clears_behind_its_look must inbox/overflow.c \
    's/^            moved = !producer->reserved \&\& kr_producer_arm(.*$/& kr_bell_clear(producer->space_bell);/' plain:steps
mutant claim_after_the_tail must ring/consumer_wait.c \
    's/^    int gone = kr_consumer_gone(consumer);$/    uint64_t seen = load_seq_cst(\&consumer->header->tail); &/;s/load_seq_cst(&consumer->header->tail) != consumer->drained/seen != consumer->drained/' \
    plain:steps
mutant closed_before_the_last_publish must ring/producer_role.c \
    '/^    if (!producer->gone)$/{N;h;d};/kr_role_release(&producer->role, KR_ROLE_CLOSED);$/{/^    /G}' plain:steps
mutant empties_without_asking_anew must ring/consumer_wait.c \
    's/^    kr_bell_clear(consumer->data_bell);$/& if (load_acquire(\&consumer->header->data_reply) != consumer->data_request) return;/' plain:steps
# Only a processor with a store buffer reorders these two accesses: finding it takes luck or many loops.
mutant request_stored_relaxed may ring/consumer_wait.c \
    's/store_seq_cst(&consumer->header->data_request/store_relaxed(\&consumer->header->data_request/' \
    plain:stress:no_wait_for_records_loses_a_wake_up plain:stress:no_descriptor_for_records_loses_a_wake_up
mutant publish_no_more_than_a_release may ring/producer.c \
    's/store_seq_cst(&header->tail, producer->tail)/store_release(\&header->tail, producer->tail)/' \
    plain:stress:no_wait_for_records_loses_a_wake_up plain:stress:no_descriptor_for_records_loses_a_wake_up
# Harmless, because emptying and a new request go together: the late byte ends one sleep too early.
mutant reply_before_the_byte may ring/producer.c \
    '/^    kr_bell_ring(producer->data_bell);$/{h;d};/store_release(&producer->header->data_reply, request);/G' \
    plain:steps plain:doorbell
mutant never_asks_again must ring/consumer_wait.c 's/++consumer->data_request/consumer->data_request/' plain:doorbell
mutant asks_without_emptying must ring/consumer_wait.c '/^    kr_bell_clear(consumer->data_bell);$/d' plain:doorbell
mutant never_rings must ring/producer.c 's/^    kr_bell_ring(producer->data_bell);$/    ;/' plain:doorbell
mutant rings_on_every_publish must ring/producer.c 's/if (request != producer->data_reply)/if (1)/' plain:doorbell
mutant forgets_that_it_rang must ring/producer.c 's/^    producer->data_reply = request;$/    ;/' plain:doorbell
mutant never_rings_for_space must ring/consumer.c 's/if (request != consumer->space_reply)/if (0)/' plain:producer plain:doorbell
mutant rings_for_too_little_space must ring/consumer.c 's/if ((int64_t)(position - wanted) >= 0)/if (1)/' plain:producer
mutant a_spin_in_vain_is_forgotten must ring/consumer_wait.c 's/found ? 0 : load_relaxed(&consumer->spin_halvings) + 1/0/' plain:spin
mutant a_spin_that_paid_is_forgotten must ring/consumer_wait.c 's/found ? 0 : load_relaxed/load_relaxed/' plain:spin
mutant a_short_sleep_is_forgotten must ring/consumer_wait.c 's/^            slept(consumer, asleep, spin_ns);$/            ;/' plain:spin
mutant every_sleep_counts_as_short must ring/consumer_wait.c 's/ \&\& (kr_now_ns() - asleep) \/ 2 < (uint64_t)bound_ns//' plain:spin
mutant the_last_of_the_window_stays must ring/consumer_wait.c 's/halvings \&\& window_ns < LEAST_WINDOW_NS ? 0 : window_ns/window_ns/' plain:spin
mutant asks_anew_when_woken must ring/consumer_wait.c 's/found = asleep \&\& consumer->peer.wait_fd < 0 ? look(consumer) : KR_WAIT_TIMEOUT;/found = KR_WAIT_TIMEOUT;/' plain:spin
mutant a_budget_leaves_the_descriptor_silent must ring/consumer_wait.c \
    's/if (load_acquire(&header->data_reply) != consumer->data_request)/if (0)/' plain:doorbell
mutant seen_again_in_silence must ring/consumer.c 's/if (seen_again \&\& /if (0 \&\& /' plain:doorbell
mutant the_descriptor_keeps_the_first_peer must ring/peer.c 's/if (epoch == peer->epoch)/if (peer->epoch)/' plain:wakes
mutant a_pidfd_stays_in_the_set must ring/peer.c '/EPOLL_CTL_DEL/s/epoll_ctl(.*);/;/' plain:wakes
mutant a_descriptor_without_a_timer must ring/peer.c 's/watch(made, timer) || //' plain:peers
mutant any_process_of_the_pid_is_the_peer must ring/peer.c 's/ || found != start//' plain:peers
mutant an_ended_process_is_never_doubted must ring/peer.c 's/if (peer->pidfd < 0 || poll.*/if (1)/' plain:peers
mutant this_pid_is_this_process must ring/peer.c 's/ \&\& own == start//' plain:peers
mutant a_waiter_is_not_told_of_what_is_seen_again must ring/consumer.c 's/else if (seen_again/else if (0/' plain:wakes
mutant the_successor_trusts_the_doorbell must ring/consumer_role.c '/^    kr_consumer_arm(consumer);$/d' plain:doorbell
mutant a_closed_producer_still_writes must ring/producer_role.c \
    's/^    kr_bell_ring(producer->data_bell);.*$/& store_release(\&producer->header->data_reply, load_seq_cst(\&producer->header->data_request));/' plain:doorbell

# Roles.
mutant the_peer_is_never_gone must ring/producer.c 's/producer->gone = kr_peer_gone(&producer->peer);/;/' plain:producer
mutant the_dead_count_as_alive must ring/ring.h 's/return (word & KR_ROLE_DEAD) ? KR_E_PEER_DEAD : 0;/return 0;/' plain:roles:a_killed_consumer_is_dead_before_it_is_reaped
mutant the_wait_ignores_the_claim must ring/consumer_wait.c 's/return gone ? KR_WAIT_GONE : KR_WAIT_TIMEOUT;/return KR_WAIT_TIMEOUT;/' plain:consumer
mutant death_is_not_marked must ring/role.c 's/^        list.list.next = first;$/        ;/' plain:roles:a_killed_consumer_is_dead_before_it_is_reaped
mutant a_publish_in_two_stores must ring/producer.c \
    's/^    store_seq_cst(&header->tail, producer->tail);$/    if (producer->staged_events == 0 \&\& producer->tail - load_relaxed(\&header->tail) > 24) store_seq_cst(\&header->tail, producer->tail - 24); &/' \
    plain:kills:a_producer_that_publishes
mutant a_live_holder_is_no_obstacle must ring/role.c 's/ \&\& !(seen \& KR_ROLE_DEAD))/ \&\& 0)/' plain:roles:a_role_has_one_holder
mutant a_fork_changes_nothing must ring/role.c 's/kr_generation++/(void)0/' plain:roles:inherited_handles_are_refused_and_harmless
mutant a_zombie_is_alive must ring/role.c "s/ && state != 'Z'//" plain:roles:a_killed_producer_leaves_what_it_published

# Positions and records.
mutant the_known_head_stays_behind must ring/ring.h 's/^    producer->head_cache = head;$/    ;/' plain:producer
mutant any_head_is_believed must ring/ring.h 's/if (producer->tail - head > producer->tail - producer->head_cache)/if (0)/' plain:producer
mutant room_for_one_record_too_many must ring/producer.c 's/return producer->capacity - (producer->staged - producer->head_cache);/return producer->capacity + 16 - (producer->staged - producer->head_cache);/' plain:model
mutant room_for_one_record_too_few must ring/producer.c 's/return producer->capacity - (producer->staged - producer->head_cache);/return producer->capacity - 16 - (producer->staged - producer->head_cache);/' plain:model
mutant a_second_batch_beside_the_first must ring/consumer.c 's/if (consumer->drained != consumer->head)/if (0)/' plain:consumer
mutant a_length_is_believed must ring/plain_run.c 's/if (kind > KR_KIND_LAST || own > end - at)/if (kind > KR_KIND_LAST)/' plain:consumer
mutant end_positions_are_believed must ring/plain_run.c 's/ || read_half(payload + head - 4) != length - head//' plain:consumer
mutant a_tail_is_believed must ring/consumer.c 's/if (bytes > consumer->capacity)/if (0)/' plain:consumer
mutant nothing_is_seen_again must ring/consumer.c '/^    if (done)$/{N;d}' plain:consumer
mutant padding_is_what_was_there must ring/ring.h 's/if (span > KR_RECORD_BYTES)/if (0)/' plain:inbox
mutant the_ring_overtakes_the_overflow must inbox/send.c 's/^    if (sender->overflow.events)$/    if (0)/' plain:overflow
mutant the_pump_takes_a_reserved_place must inbox/overflow.c 's/if (!producer->reserved) /if (1) /' plain:inbox
mutant a_fragment_too_many must inbox/overflow.c 's/KR_FLAG_LAST : 0/0 : 0/' plain:overflow
mutant the_pump_counts_as_running_for_ever must inbox/overflow.c 's/sender->pump.running = 0;/;/' plain:pump
mutant the_pump_counts_as_running_before_it_does must inbox/pump.c '/^    pthread_t thread;$/s/$/ sender->pump.running = 1;/' plain:pump
mutant a_pump_that_could_not_start_is_given_up must inbox/pump.c 's/!pump->by_hand \&\& !pump->running/& \&\& !pump->was_refused/' plain:pump
mutant a_dropped_handle_closes_at_once must inbox/sender.c 's/int waits = has_work(sender);/int waits = 0;/' plain:pump
mutant a_dropped_handle_never_closes must inbox/overflow.c 's/if (sender->closes_when_drained)/if (0)/' plain:pump
mutant nobody_is_told_of_the_end must inbox/overflow.c 's/^    kr_overflow_ended(sender);$/    ;/' plain:pump
mutant a_child_has_the_inboxes_of_its_parent must inbox/inboxes.c 's/^    first = NULL;$/    ;/' plain:pump

rm -rf build/mutants
echo "$ok found, $survived survived that may, $lost failures"
[ "$lost" = 0 ]
