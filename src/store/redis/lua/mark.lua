-- Replaces an owner's mark and returns the owner's list.
--
-- KEYS: the list, the mark. ARGV[1]: the mark as it was, empty for none. ARGV[2]: the new one. ARGV[3]: for how long it
-- is kept, in milliseconds. Sign-ins enter the list and look at the mark in one step, too: whichever step is second
-- sees what the first has left.
local tag = string.sub(KEYS[1], -16)
local standing = redis.call('GET', KEYS[2]) or ''
if standing ~= ARGV[1] then
    return {tag, 'conflict', standing}
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {tag, 'done', redis.call('ZRANGE', KEYS[1], 0, -1)}
