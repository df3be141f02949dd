-- ARGV[2]: the whole value.
local value = ARGV[2]
if state == 'none' then
    -- NX, since an empty string, which the store did not write, looks like nothing.
    if redis.call('SET', key, value, 'PX', lifetime(string.sub(value, 11, 18)), 'NX') then
        return answer('done')
    end
elseif state == 'live' and version == string.sub(value, 3, 10) then
    return answer('done')
end
return answer('taken')
