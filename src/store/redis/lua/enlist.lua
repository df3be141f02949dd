-- Enters a session in its owner's list, at the last place, and returns the owner's mark.
--
-- ARGV[1]: the session. ARGV[2]: the longest time for which the session can live, in milliseconds. ARGV[3]: the moment of
-- its sign-in, 0 if it has none yet. ARGV[4]: GT to move a session that is listed to the last place, NX to leave it at its own.
local place = math.max(following, tonumber(ARGV[3]))
local added = redis.call('ZADD', list, ARGV[4], text(place), ARGV[1])
if redis.call('PTTL', list) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', list, ARGV[2])
end
-- Some sessions that were listed a day ago or earlier, for the caller to look at.
local aged, old = redis.call('ZCOUNT', list, '-inf', text(now - 86400000000)), {}
if aged > 0 then
    local first = time[2] % aged
    old = redis.call('ZRANGE', list, first, first + 3)
end
return answer('done', mark, text(now), text(place), added, old)
