/* CRC-64/Jones: the known value, every split, and every changed bit gives another value. */
#include <string.h>

#include "kevy_ring.h"
#include "check.h"

static uint64_t bit_by_bit(const unsigned char *bytes, size_t length)
{
    uint64_t crc = 0;
    for (size_t i = 0; i < length; i++)
        for (int bit = 0; bit < 8; bit++) {
            uint64_t odd = (crc ^ (uint64_t)(bytes[i] >> bit)) & 1;
            crc = crc >> 1 ^ (odd ? UINT64_C(0x95ac9329ac4bc9b5) : 0);
        }
    return crc;
}

static void fill(unsigned char *bytes, size_t length, uint64_t seed)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)check_random(&seed);
}

static void the_known_value_comes_out(void)
{
    CHECK_EQ(kr_crc64(0, "123456789", 9), UINT64_C(0xe9c6d914c4b8d9ca));
    CHECK_EQ(kr_crc64(0, "", 0), 0);
}

static void it_is_the_same_at_every_length_and_alignment(void)
{
    unsigned char bytes[128];
    fill(bytes, sizeof bytes, 1);
    for (size_t start = 0; start < 16; start++)
        for (size_t length = 0; start + length <= sizeof bytes; length++)
            CHECK_EQ(kr_crc64(0, (char *)bytes + start, length), bit_by_bit(bytes + start, length));
}

static void pieces_give_what_the_whole_gives(void)
{
    unsigned char bytes[64];
    fill(bytes, sizeof bytes, 2);
    uint64_t whole = kr_crc64(0, (char *)bytes, sizeof bytes);
    for (size_t first = 0; first <= sizeof bytes; first++)
        for (size_t second = first; second <= sizeof bytes; second++) {
            uint64_t crc = kr_crc64(0, (char *)bytes, first);
            crc = kr_crc64(crc, (char *)bytes + first, second - first);
            CHECK_EQ(kr_crc64(crc, (char *)bytes + second, sizeof bytes - second), whole);
        }
}

static void over_its_own_checksum_it_is_zero_and_after_any_flip_it_is_not(void)
{
    unsigned char bytes[200];
    size_t body = sizeof bytes - 8;
    fill(bytes, body, 3);
    uint64_t crc = kr_crc64(0, (char *)bytes, body);
    for (size_t i = 0; i < 8; i++)
        bytes[body + i] = (unsigned char)(crc >> 8 * i);
    CHECK_EQ(kr_crc64(0, (char *)bytes, sizeof bytes), 0);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        CHECK(kr_crc64(0, (char *)bytes, sizeof bytes) != 0);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}

static const struct check_case cases[] = {
    CASE(the_known_value_comes_out),
    CASE(it_is_the_same_at_every_length_and_alignment),
    CASE(pieces_give_what_the_whole_gives),
    CASE(over_its_own_checksum_it_is_zero_and_after_any_flip_it_is_not),
};

CHECK_MAIN(cases)
