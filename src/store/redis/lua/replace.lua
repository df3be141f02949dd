-- ARGV[2]: the version to replace. ARGV[3]: the whole new value. ARGV[4]: whether to keep, extend or set the deadline.
local value = ARGV[3]
if state ~= 'live' then
    return answer('gone')
elseif version == string.sub(value, 17, 24) then
    return answer('done')
elseif version ~= ARGV[2] then
    return answer('conflict')
end
local asked = string.sub(value, 33, 40)
if ARGV[4] == 'keep' or (ARGV[4] == 'extend' and at_most(asked, deadline)) then
    asked = deadline
end
redis.call('SET', key, string.sub(value, 1, 32) .. asked .. string.sub(value, 41), 'PX', lifetime(asked))
return answer('done')
