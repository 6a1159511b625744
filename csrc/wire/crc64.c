/* CRC-64/Jones, the checksum at the end of an RDB file and of a DUMP payload: eight bytes at a time, by tables
 * ("slicing-by-8"). Reflected polynomial, start 0, no final xor; stored little-endian, so the checksum over data that
 * ends with its own checksum is 0. */
#include <pthread.h>
#include <string.h>

#include "kevy_ring.h"

#define POLYNOMIAL UINT64_C(0x95ac9329ac4bc9b5) /* 0xad93d23594c935a9 with its bits reversed */

/* slices[k][b]: the checksum of the byte b followed by k zero bytes. Written once, before the first read. */
static uint64_t slices[8][256];
static pthread_once_t slices_once = PTHREAD_ONCE_INIT;

static void fill_slices(void)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        slices[0][byte] = crc;
    }
    for (unsigned byte = 0; byte < 256; byte++)
        for (int k = 1; k < 8; k++)
            slices[k][byte] = slices[k - 1][byte] >> 8 ^ slices[0][slices[k - 1][byte] & 255];
}

uint64_t kr_crc64(uint64_t crc, const char *bytes, uint64_t length)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + length;
    pthread_once(&slices_once, fill_slices);
    for (; end - at >= 8; at += 8) {
        uint64_t eight;
        memcpy(&eight, at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        eight = __builtin_bswap64(eight);
#endif
        crc ^= eight;
        crc = slices[7][crc & 255] ^ slices[6][crc >> 8 & 255] ^ slices[5][crc >> 16 & 255] ^ slices[4][crc >> 24 & 255] ^
              slices[3][crc >> 32 & 255] ^ slices[2][crc >> 40 & 255] ^ slices[1][crc >> 48 & 255] ^ slices[0][crc >> 56];
    }
    for (; at < end; at++)
        crc = crc >> 8 ^ slices[0][(crc ^ *at) & 255];
    return crc;
}
