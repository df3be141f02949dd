-- For whoever has read a value that has expired, unless it was touched meanwhile.
if state == 'live' or state == 'tombstone' then
    return answer('found', redis.call('GET', key))
end
return answer('gone')
