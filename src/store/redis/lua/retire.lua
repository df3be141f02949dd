-- ARGV[2]: the session to end: its version, or the handle, the latest moment of its sign-in and the owner, or empty for
-- any. ARGV[3]: the whole value of the tombstone. ARGV[4]: the place of the session in its owner's list, if it is ended as
-- one of the list.
local function bury(...)
    return redis.pcall('SET', key, ARGV[3], 'PX', lifetime(string.sub(ARGV[3], 11, 18)), ...)
end

local is_bare = at_most(string.sub(ARGV[3], 11, 18), now)
if state == 'tombstone' then
    return answer('retired', redis.call('GET', key))
elseif state == 'foreign' then
    return answer('foreign')
elseif state == 'none' then
    local time = redis.call('TIME')
    local is_young = ARGV[4] and header == '' and tonumber(ARGV[4]) > (time[1] - 3600) * 1000000
    if is_young and not is_bare then
        -- The record may be on its way. It must not appear after this call.
        bury('NX')
    end
    return answer('gone')
end
-- The handle, the moment of the sign-in, then one more than the length of the owner's name, then the name.
local owned = string.byte(header, 35) == 1 and redis.call('GETRANGE', key, 35, 62) or ''
local handle, meant = string.sub(owned, 1, 16), ARGV[2]
local owner_len = #owned == 28 and struct.unpack('>I4', string.sub(owned, 25)) or 0
local owner = owner_len > 1 and redis.call('GETRANGE', key, 63, 61 + owner_len) or ''
if #meant == 8 and version ~= meant then
    return answer('conflict')
elseif #meant > 8 then
    if handle ~= string.sub(meant, 1, 16) or owner_len == 0 or owner ~= string.sub(meant, 25) then
        return answer('other')
    elseif not at_most(string.sub(owned, 17, 24), string.sub(meant, 17, 24)) then
        return answer('later')
    end
end

local word = 'done'
if is_bare then
    redis.call('DEL', key)
elseif bury().err then
    -- A full Redis refuses a script's first write if it takes room, and none after it.
    redis.call('DEL', key)
    word = bury().err and 'bare' or word
end
return answer(word, owner_len > 0 and handle .. owner or '')
