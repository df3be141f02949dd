-- Replaces an owner's mark and returns the owner's list.
--
-- KEYS: the list, the mark. ARGV[1]: the mark as it was read, empty for none. ARGV[2]: the new mark. ARGV[3]: the time
-- for which the mark is kept, in milliseconds. A sign-in enters the list and reads the mark in one step, too: the step
-- that comes second sees what the first has left.
local tag = string.sub(KEYS[1], -16)
local stored = redis.call('GET', KEYS[2]) or ''
if stored ~= ARGV[1] then
    return {tag, 'conflict', stored}
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {tag, 'done', redis.call('ZRANGE', KEYS[1], 0, -1)}
