"""The steps of `RedisStore` as Lua scripts: each runs in Redis as one, so a crash cannot cut it in half.

Keys of the queue ``chat`` (the braces keep them in one slot of a cluster):

    {chat}:m:STREAM    hash    epoch, last sequence, and the books of the stream
    {chat}:s:STREAM    stream  what waits; an entry's id is SEQUENCE-0, its fields are i (id), d (data), e (expiry)
    {chat}:f:STREAM    hash    sequence -> history of failures, one line of JSON each
    {chat}:d:STREAM    hash    id -> dead letter
    {chat}:i:LENGTH:STREAM:ID  string  the sequence this id got; goes away by itself
    {chat}:t           hash    the books of all streams together, and how many messages wait
    {chat}:n           set     names of all streams
    {chat}:e           zset    "SEQUENCE STREAM" by expiry in ms

Sequences are written with %d: by itself Lua gives them 14 digits and an exponent.

Only `ACK` trims, and only up to what was acknowledged: trimming by length would lose messages silently.
"""

import hashlib

import attrs


@attrs.frozen
class Script:
    """A Lua script and the name Redis knows it by once it has run."""

    text: str
    sha: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


_CHECK_EPOCH = "if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return -1 end\n"

_HEAD = """
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'last')
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
return {meta[1], meta[2] or '0', first and first[1] or ''}
"""

OPEN = Script(
    # A Redis without memory refuses writes; a client that comes to empty its stream must get in all the same.
    "if redis.call('HEXISTS', KEYS[1], 'epoch') == 0 then redis.call('HSET', KEYS[1], 'epoch', ARGV[1]) end"
    + _HEAD
)
"""KEYS meta stream, ARGV new-epoch -> epoch, last, id of the first that waits."""

RENEW = Script(
    """
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  local last = tonumber(redis.call('HGET', KEYS[1], 'last') or '0')
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'last', string.format('%d', math.max(last, tonumber(ARGV[3]))))
end
"""
    + _HEAD
)
"""KEYS meta stream, ARGV old-epoch new-epoch at-least -> as OPEN."""

APPEND = Script("""
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1])
local fresh = 0
for i = 6, #ARGV, 4 do
  if redis.call('EXISTS', ARGV[3] .. ARGV[i]) == 0 then fresh = fresh + 1 end
end
if fresh > 0 then
  if redis.call('XLEN', KEYS[2]) + fresh > tonumber(ARGV[4]) then return -1 end
  if tonumber(redis.call('HGET', KEYS[3], 'waiting') or '0') + fresh > tonumber(ARGV[5]) then return -2 end
  redis.call('SADD', KEYS[4], ARGV[2])
end
local seqs, added = {}, 0
for i = 6, #ARGV, 4 do
  local known = redis.call('GET', ARGV[3] .. ARGV[i])
  if known then
    seqs[#seqs + 1] = tonumber(known)
  else
    local seq = string.format('%d', redis.call('HINCRBY', KEYS[1], 'last', 1))
    redis.call('XADD', KEYS[2], seq .. '-0', 'i', ARGV[i], 'd', ARGV[i + 1], 'e', ARGV[i + 2])
    redis.call('SET', ARGV[3] .. ARGV[i], seq, 'PX', ARGV[i + 3])
    if ARGV[i + 2] ~= '' then redis.call('ZADD', KEYS[5], ARGV[i + 2], seq .. ' ' .. ARGV[2]) end
    seqs[#seqs + 1] = tonumber(seq)
    added = added + 1
  end
end
if added > 0 then
  redis.call('HINCRBY', KEYS[1], 'accepted', added)
  redis.call('HINCRBY', KEYS[3], 'accepted', added)
  redis.call('HINCRBY', KEYS[3], 'waiting', added)
end
return seqs
""")
"""KEYS meta stream totals names expiry, ARGV new-epoch name id-prefix max-stream max-total (id data expiry dedupe)*."""

READ = Script(
    _CHECK_EPOCH
    + """
local out, total, from = {}, 0, '(' .. ARGV[2] .. '-0'
local left, size, overhead = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
while left > 0 do
  local page = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', math.min(left, 16))
  if #page == 0 then break end
  for _, entry in ipairs(page) do
    total = total + #entry[2][2] + #entry[2][4] + overhead
    if total > size and #out > 0 then return out end
    out[#out + 1] = {entry[1], entry[2][2], entry[2][4], entry[2][6]}
    from = '(' .. entry[1]
    left = left - 1
  end
end
return out
"""
)
"""KEYS meta stream, ARGV epoch after count size overhead -> (entry id, id, data, expiry)*."""

ACK = Script(
    _CHECK_EPOCH
    + """
local through = tonumber(ARGV[2])
local acked = redis.call('XTRIM', KEYS[2], 'MINID', '=', string.format('%d-0', through + 1))
if acked > 0 then
  redis.call('HINCRBY', KEYS[1], 'acked', acked)
  redis.call('HINCRBY', KEYS[3], 'acked', acked)
  redis.call('HINCRBY', KEYS[3], 'waiting', -acked)
  for _, seq in ipairs(redis.call('HKEYS', KEYS[4])) do
    if tonumber(seq) <= through then redis.call('HDEL', KEYS[4], seq) end
  end
end
return acked
"""
)
"""KEYS meta stream totals failures, ARGV epoch through -> how many."""

FAIL = Script(
    _CHECK_EPOCH
    + """
if #redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2]) == 0 then return '' end
local history = redis.call('HGET', KEYS[3], ARGV[2]) or ''
if string.sub(history, -#ARGV[3]) ~= ARGV[3] then
  history = history .. ARGV[3]
  redis.call('HSET', KEYS[3], ARGV[2], history)
end
return history
"""
)
"""KEYS meta stream failures, ARGV epoch seq line -> history. The same line twice in a row is a repeated call."""

BURY = Script(
    _CHECK_EPOCH
    + """
local entry = redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2])[1]
if not entry then return 0 end
local id, data = entry[2][2], entry[2][4]
local history = redis.call('HGET', KEYS[4], ARGV[2]) or ''
local field = id
if redis.call('HEXISTS', KEYS[5], field) == 1 then field = id .. ' #' .. ARGV[2] end
redis.call('HSET', KEYS[5], field, cmsgpack.pack({ARGV[2], id, data, ARGV[3], ARGV[4], history}))
redis.call('XDEL', KEYS[2], ARGV[2] .. '-0')
redis.call('HDEL', KEYS[4], ARGV[2])
redis.call('HINCRBY', KEYS[1], 'dead', 1)
redis.call('HINCRBY', KEYS[3], 'dead', 1)
redis.call('HINCRBY', KEYS[3], 'waiting', -1)
return 1
"""
)
"""KEYS meta stream totals failures dead, ARGV epoch seq reason at -> 1 if it was still waiting."""

LETTERS = Script("""
local out = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 2, #all, 2 do
  if #out == tonumber(ARGV[1]) then break end
  out[#out + 1] = cmsgpack.unpack(all[i])
end
return out
""")
"""KEYS dead, ARGV limit -> (seq, id, data, reason, at, history)*."""

REDRIVE = Script("""
local letters = {}
local all = redis.call('HGETALL', KEYS[4])
local wanted = {}
for i = 1, #ARGV do wanted[ARGV[i]] = true end
for i = 1, #all, 2 do
  local letter = cmsgpack.unpack(all[i + 1])
  if #ARGV == 0 or wanted[letter[2]] then letters[#letters + 1] = {all[i], letter} end
end
table.sort(letters, function(a, b) return tonumber(a[2][1]) < tonumber(b[2][1]) end)
for _, found in ipairs(letters) do
  local seq = string.format('%d', redis.call('HINCRBY', KEYS[1], 'last', 1))
  redis.call('XADD', KEYS[2], seq .. '-0', 'i', found[2][2], 'd', found[2][3], 'e', '')
  redis.call('HDEL', KEYS[4], found[1])
end
if #letters > 0 then
  for _, books in ipairs({KEYS[1], KEYS[3]}) do
    redis.call('HINCRBY', books, 'dead', -#letters)
    redis.call('HINCRBY', books, 'redriven', #letters)
  end
  redis.call('HINCRBY', KEYS[3], 'waiting', #letters)
end
return #letters
""")
"""KEYS meta stream totals dead, ARGV ids (none: all) -> how many."""

EXPIRE = Script("""
local touched = {}
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])
touched[1] = #due
for _, member in ipairs(due) do
  local seq, stream = string.match(member, '^(%d+) (.*)$')
  if redis.call('XDEL', ARGV[1] .. 's:' .. stream, seq .. '-0') == 1 then
    redis.call('HDEL', ARGV[1] .. 'f:' .. stream, seq)
    redis.call('HINCRBY', ARGV[1] .. 'm:' .. stream, 'expired', 1)
    redis.call('HINCRBY', KEYS[1], 'expired', 1)
    redis.call('HINCRBY', KEYS[1], 'waiting', -1)
    touched[#touched + 1] = stream
  end
  redis.call('ZREM', KEYS[2], member)
end
return touched
""")
"""KEYS totals expiry, ARGV prefix now limit -> how many were due, then the streams touched."""

BOOKS = Script("""
local books = redis.call('HMGET', KEYS[1], 'accepted', 'acked', 'dead', 'expired', 'redriven')
books[#books + 1] = redis.call('XLEN', KEYS[2])
for i = 1, 5 do books[i] = books[i] or '0' end
return books
""")
"""KEYS meta stream -> accepted acked dead expired redriven waiting."""

TOTALS = Script("""
local books = redis.call('HMGET', KEYS[1], 'accepted', 'acked', 'dead', 'expired', 'redriven', 'waiting')
for i = 1, 6 do books[i] = books[i] or '0' end
return books
""")
"""KEYS totals -> as BOOKS."""

AUDIT = Script("""
local sums = {0, 0, 0, 0, 0, 0}
local page = redis.call('SSCAN', KEYS[1], ARGV[2], 'COUNT', 500)
for _, stream in ipairs(page[2]) do
  local books = redis.call('HMGET', ARGV[1] .. 'm:' .. stream, 'accepted', 'acked', 'dead', 'expired', 'redriven')
  books[3] = redis.call('HLEN', ARGV[1] .. 'd:' .. stream)
  books[6] = redis.call('XLEN', ARGV[1] .. 's:' .. stream)
  for i = 1, 6 do sums[i] = sums[i] + tonumber(books[i] or '0') end
end
table.insert(sums, 1, page[1])
return sums
""")
"""KEYS names, ARGV prefix cursor -> next cursor, then sums as BOOKS over one page; what waits and is dead, counted."""
