-- Reads an owner's list and mark, for the step that follows.
--
-- KEYS: the list, the mark. The score of a session in the list is its place, in microseconds. Places come from Redis' own
-- clock and never repeat, so no host's clock decides who comes first.
local list, mark = KEYS[1], redis.call('GET', KEYS[2]) or ''
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function text(number)
    return string.format('%.0f', number)
end

-- The mark begins with its moment.
local marked = 0
if #mark == 56 then
    local high, low = struct.unpack('>I4I4', mark)
    marked = high * 4294967296 + low
end
local last = redis.call('ZRANGE', list, -1, -1, 'WITHSCORES')[2]
local last_moment = math.max(tonumber(last or 0), marked)
local following = math.max(now, last_moment + 1)

-- Every reply carries the end of its key, so that it is never taken for the reply to another call.
local function answer(word, ...)
    return {string.sub(list, -16), word, {...}}
end
