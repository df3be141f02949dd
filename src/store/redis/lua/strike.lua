-- Removes sessions whose records are absent from an owner's list.
--
-- ARGV: the sessions. One that was listed within the last hour stays, since its record may be on its way.
local time = redis.call('TIME')
local hour_ago = (time[1] - 3600) * 1000000 + time[2]
for _, session in ipairs(ARGV) do
    local place = redis.call('ZSCORE', KEYS[1], session)
    if place and tonumber(place) <= hour_ago then
        redis.call('ZREM', KEYS[1], session)
    end
end
return string.sub(KEYS[1], -16)
