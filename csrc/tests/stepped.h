/* A call, with something else happening in front of any one of its machine instructions. */
#ifndef KR_STEPPED_H
#define KR_STEPPED_H

struct stepped {
    int (*act)(void *);   /* the call */
    void (*move)(void *); /* what happens once: at the chosen instruction, or when the call goes to sleep, or after it */
    void *argument;       /* of both */
    int answer;           /* of `act` */
    int slept_for_ever;   /* it went to sleep, and what it sleeps on did not move */
};

/* Makes the call instruction by instruction and remembers them. Returns how many there are, without those of the C
 * library; 0: this program does not know how to do it on this machine (so far: x86-64). */
unsigned stepped_trace(struct stepped *call);

/* Makes the call again, with the move in front of instruction `at` of the last trace. */
void stepped_call(struct stepped *call, unsigned at);

#endif
