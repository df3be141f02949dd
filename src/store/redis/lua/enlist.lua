-- Enters a session in its owner's list and returns the owner's mark.
--
-- KEYS: the list, the mark. ARGV[1]: the session. ARGV[2]: the longest time for which the session can live, in
-- milliseconds. Entries are scored by Redis' own time, by which the sessions themselves vanish, so that no layer's
-- clock, however wrong, removes a live session from the list.
local list, longest = KEYS[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', list, '-inf', string.format('(%.0f', now))
redis.call('ZADD', list, string.format('%.0f', now + longest), ARGV[1])
if redis.call('PTTL', list) < longest then
    redis.call('PEXPIRE', list, string.format('%.0f', longest))
end
return {string.sub(list, -16), 'done', redis.call('GET', KEYS[2]) or ''}
