-- The rest of replacing, where the comparison in at_once.lua was not enough; the arguments are described there.
local value = ARGV[3]
local from = string.sub(ARGV[2], 3, 10)
if state ~= 'live' then
    return answer('gone')
elseif version == string.sub(value, 3, 10) then
    return answer('done')
elseif version ~= from then
    return answer('conflict')
end
local asked = string.sub(value, 11, 18)
if ARGV[4] == 'keep' or (ARGV[4] == 'extend' and at_most(asked, deadline)) then
    asked = deadline
end
redis.call('SET', key, string.sub(value, 1, 10) .. asked .. string.sub(value, 19), 'PX', lifetime(asked))
return answer('done')
