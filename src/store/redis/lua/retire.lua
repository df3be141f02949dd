-- ARGV[2]: the version to end, empty for any. ARGV[3]: the whole value of the tombstone.
if state == 'tombstone' then
    return answer('retired', redis.call('GET', key))
elseif state ~= 'live' then
    return answer('gone')
elseif ARGV[2] ~= '' and version ~= ARGV[2] then
    return answer('conflict')
end
-- The handle, then one more than the length of the owner's name, then the name.
local owned = string.byte(header, 35) == 1 and redis.call('GETRANGE', key, 35, 62) or ''
local owner = #owned == 28 and struct.unpack('>I4', string.sub(owned, 25)) or 0
local entry = owner > 0 and string.sub(owned, 1, 16) .. redis.call('GETRANGE', key, 63, 61 + owner)
local ends = string.sub(ARGV[3], 11, 18)
if at_most(ends, now) then
    redis.call('DEL', key)
else
    redis.call('SET', key, ARGV[3], 'PX', lifetime(ends))
end
return answer('done', entry)
