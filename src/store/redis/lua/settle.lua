-- Follows the load of a value that has expired, and finds one that was touched meanwhile.
if state == 'live' or state == 'tombstone' then
    return answer('found', redis.call('GET', key))
end
return answer('gone')
