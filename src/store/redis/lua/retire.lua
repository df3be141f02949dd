-- ARGV[2]: the version to end, empty for any. ARGV[3]: the whole value of the tombstone.
if state == 'tombstone' then
    return answer('retired', redis.call('GET', key))
elseif state ~= 'live' then
    return answer('gone')
elseif ARGV[2] ~= '' and version ~= ARGV[2] then
    return answer('conflict')
end
-- One more than the length of the owner's name, which follows the handle; zero without an owner.
local _, owner = struct.unpack('>I4I4', string.sub(header, 33, 40))
local entry = owner > 0 and redis.call('GETRANGE', key, 48, 62 + owner)
local ends = string.sub(ARGV[3], 17, 24)
if at_most(ends, now) then
    redis.call('DEL', key)
else
    redis.call('SET', key, ARGV[3], 'PX', lifetime(ends))
end
return answer('done', entry)
