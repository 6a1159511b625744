"""Keys of every type for a Redis primary: a script makes many at once, and a thread keeps changing them."""

from __future__ import annotations

import random
import threading

import redis

_FILL = """
local first, last, until_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
for i = first, last do
  local kind, key = i % 8, 'key:' .. i
  if kind == 0 then redis.call('SET', key, 'value-' .. i)
  elseif kind == 1 then redis.call('SET', key, i * 7919)
  elseif kind == 2 then redis.call('SET', key, string.char(0, 255, 13, 10, i % 256) .. string.rep('x', i % 300))
  elseif kind == 3 then for j = 0, i % 5 do redis.call('HSET', key, 'field' .. j, 'v' .. i * j) end
  elseif kind == 4 then for j = 0, i % 7 do redis.call('RPUSH', key, 'item' .. j .. '-' .. i) end
  elseif kind == 5 then for j = 0, i % 4 do redis.call('SADD', key, i + j) end
  elseif kind == 6 then for j = 0, i % 3 do redis.call('SADD', key, 'member' .. j, i) end
  else for j = 0, i % 6 do redis.call('ZADD', key, i * 0.1 + j, 'member' .. j) end
  end
  if i % 11 == 0 then redis.call('PEXPIREAT', key, until_ms + i) end
end
"""
_STEP = 5000
_PIPELINE = 20  # changes in one pipeline
_BRIEF_KEYS = 30
# Times of expiry are so far ahead that no test reaches them.
FAR_AHEAD_MS = 4_000_000_000_000


def fill(client: redis.Redis, keys: int) -> None:
    """``keys`` keys of all types but streams. Some are large, and some expire."""
    for first in range(0, keys, _STEP):
        client.eval(_FILL, 0, first, min(first + _STEP, keys) - 1, FAR_AHEAD_MS)
    pipeline = client.pipeline(transaction=False)
    pipeline.set(b"", b"the empty key")
    pipeline.set(b"empty value", b"")
    pipeline.set(b"\x00\r\n\xff", bytes(range(256)))
    pipeline.set("large string", b"s" * (1 << 20))
    pipeline.hset("large hash", mapping={f"f{i}": "h" * (i % 70) for i in range(2000)})
    pipeline.rpush("large list", *(b"l" * (i % 200) for i in range(2000)))
    pipeline.sadd("large set", *(f"s{i}" for i in range(2000)))
    pipeline.sadd("large set of integers", *range(-1000, 2000))
    pipeline.zadd("large sorted set", {f"z{i}": i / 3 for i in range(2000)})
    pipeline.zadd("infinite scores", {"a": float("inf"), "b": float("-inf"), "c": -0.5})
    pipeline.execute()


class Writes:
    """Seeded changes from a thread, in pipelines, until it is closed. The keys do not grow.

    At most ``rate`` changes a second.
    ``streams``: change streams too. Set it after the sync, because the decoder of a snapshot skips streams.
    ``expiries``: change keys that live for some milliseconds too, and extend and remove their expiries. The end
    removes the expiries of the keys that are left.
    """

    def __init__(self, client: redis.Redis, keys: int, seed: int = 1, *, rate: float = 4_000.0) -> None:
        self.count = 0
        self.streams = False
        self.expiries = False
        self._client = client
        self._keys = keys
        self._pause_s = _PIPELINE / rate
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._ending.wait(self._pause_s):
                pipeline = self._client.pipeline(transaction=self._random.random() < 0.1)
                for _ in range(_PIPELINE):
                    self._write(pipeline)
                pipeline.execute(raise_on_error=False)  # a command for a key of another type fails, as intended
                self.count += _PIPELINE
        except BaseException as failure:
            self._failures.append(failure)

    def _write(self, pipeline: redis.client.Pipeline) -> None:
        if self.expiries and self._random.random() < 0.2:
            self._write_briefly(pipeline)
            return
        pick, number = self._random.randrange(14), self._random.randrange(self._keys)
        key, value = f"key:{number}", self._random.randbytes(self._random.randrange(100))
        match pick:
            case 0 | 1:
                pipeline.set(key, value)
            case 2:
                pipeline.delete(key)
            case 3:
                pipeline.set(key, value, px=FAR_AHEAD_MS // 1000 + number)
            case 4:
                pipeline.hset(f"new hash {number % 50}", f"f{number % 9}", value)
            case 5:
                pipeline.rpush(f"new list {number % 50}", value, number)
            case 6:
                pipeline.lpop(f"new list {number % 50}", 2)  # as many elements as are pushed
            case 7:
                pipeline.sadd(f"new set {number % 50}", number)
            case 8:
                pipeline.spop(f"new set {number % 50}")
            case 9:
                pipeline.zincrby(f"new sorted set {number % 50}", number / 7, f"m{number % 9}")
            case 10 if self.streams:
                pipeline.xadd(f"new stream {number % 50}", {"field": value, "n": number}, maxlen=20, approximate=False)
            case 11:
                pipeline.incrby(f"new counter {number % 50}", number)
            case 12 if number % 17:
                pipeline.append(f"new string {number % 50}", value)
            case 12:
                pipeline.set(f"new string {number % 50}", value)
            case _:
                pipeline.expire(key, 100_000 + number)

    def _write_briefly(self, pipeline: redis.client.Pipeline) -> None:
        number = self._random.randrange(_BRIEF_KEYS)
        key = f"brief {number}"
        match self._random.randrange(8):
            case 0:
                pipeline.pexpire(key, self._random.randrange(1, 60))
            case 1:
                pipeline.pexpire(key, self._random.randrange(60, 500))
            case 2:
                pipeline.persist(key)
            case 3 if number % 3 == 0:
                pipeline.set(key, number, px=self._random.randrange(1, 60))
            case _ if number % 3 == 0:
                pipeline.incr(key)
            case _ if number % 3 == 1:
                pipeline.rpush(key, number)
                pipeline.ltrim(key, -20, -1)
            case _:
                pipeline.hincrby(key, f"f{self._random.randrange(9)}", number)

    def close(self) -> None:
        self._ending.set()
        self._thread.join(60)
        for number in range(_BRIEF_KEYS if self.expiries else 0):
            self._client.persist(f"brief {number}")
        assert not self._thread.is_alive()
        assert not self._failures, self._failures

    def __enter__(self) -> Writes:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
