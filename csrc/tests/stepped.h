/* A call during which something else happens before any one of its machine instructions. */
#ifndef KR_STEPPED_H
#define KR_STEPPED_H

struct stepped {
    int (*act)(void *);   /* the call */
    void (*move)(void *); /* called once: at the chosen instruction, when the call goes to sleep, or after it */
    void *argument;       /* of both */
    int answer;           /* of `act` */
    int slept_for_ever;   /* it went to sleep, and the move did not wake it */
};

/* Makes the call instruction by instruction and records them. Returns how many there are, without those of the C
 * library. 0: not possible on this machine (only x86-64 is supported). */
unsigned stepped_trace(struct stepped *call);

/* Makes the call again, with the move before instruction `at` of the last trace. */
void stepped_call(struct stepped *call, unsigned at);

#endif
