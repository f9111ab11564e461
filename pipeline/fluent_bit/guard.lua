-- What may not reach OpenSearch as an event, as the relay refuses it too: no UUIDv7, no time, or times that disagree
-- on the month. Without a good id a retry would store the record again under another; with a wrong month a resend
-- would meet another index and be doubled.
--
-- A good record is answered with 0, which leaves its bytes as they came. Any other answer would rebuild it from
-- Lua's values: nulls vanish, 2^53+1 becomes 2^53, the last nanosecond of a month moves to the next. A bad one is
-- wrapped (2: new record, same time) in a form that OpenSearch always refuses, `audit` being text where the mapping
-- has an object, so that it ends in the rejected chunks with the mark `dead_letter`, from where `auditpipe deadletter
-- replay` keeps it apart. An error in this script would let all of a chunk's records pass: hence pcall.

local UUID7 = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-7%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"
local RFC3339 = "^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt](%d%d):(%d%d):(%d%d)(.*)$"
local LATEST = 2 ^ 32 - 3 -- seconds that an EventTime holds, 2106; the last two are marks of a group
local DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local wrapped = 0

local function is_leap(year)
  return (year % 4 == 0 and year % 100 ~= 0) or year % 400 == 0
end

-- Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
local function days(year, month, day)
  local before = year - 1
  local count = before * 365 + math.floor(before / 4) - math.floor(before / 100) + math.floor(before / 400)
  for m = 1, month - 1 do
    count = count + DAYS[m]
  end
  if month > 2 and is_leap(year) then
    count = count + 1
  end
  return count + day - 1 - 719162
end

-- Seconds to add for the fraction and zone after the seconds, or nil if they are none.
local function zone(rest)
  local tail = rest:match("^%.%d+(.*)$")
  if tail then
    if #rest - #tail > 10 then -- a point and nine digits
      return nil
    end
    rest = tail
  end
  if rest == "Z" or rest == "z" then
    return 0
  end
  local sign, hours, minutes = rest:match("^([+-])(%d%d):(%d%d)$")
  if not sign then
    return nil
  end
  local offset = tonumber(hours) * 3600 + tonumber(minutes) * 60
  return sign == "+" and -offset or offset
end

-- Seconds since 1970 of an RFC 3339 time, or nil.
local function seconds_of(text)
  local year, month, day, hour, minute, second, rest = text:match(RFC3339)
  if not year then
    return nil
  end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  if year < 1 or month < 1 or month > 12 or hour > 23 or minute > 59 or second > 59 then
    return nil
  end
  local last = (month == 2 and is_leap(year)) and 29 or DAYS[month]
  local offset = zone(rest)
  if day < 1 or day > last or not offset then
    return nil
  end
  return days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second + offset
end

local function month_of(seconds)
  return os.date("!%Y.%m", seconds)
end

-- nil for a good record, else what is wrong with it: a word and a sentence.
local function problem(timestamp, record)
  local event = record["event"]
  local id = type(event) == "table" and event["id"]
  if type(id) ~= "string" or not id:find(UUID7) or id:find("%u") then
    return "bad_id", "expected event.id to be a UUIDv7 in lower case"
  end
  local own = record["@timestamp"]
  own = type(own) == "string" and seconds_of(own)
  if not own or own < 0 or own > LATEST then
    return "bad_time", "expected @timestamp as an RFC 3339 time with a zone, from 1970 to 2106"
  end
  local month = month_of(own)
  if timestamp.sec < 0 or month_of(timestamp.sec) ~= month then
    return "disagreeing_time", "the Forward time is of another month than @timestamp"
  end
  local milliseconds = tonumber(id:sub(1, 8) .. id:sub(10, 13), 16)
  if month_of(math.floor(milliseconds / 1000)) ~= month then
    return "disagreeing_id", "event.id is of another month than @timestamp"
  end
  return nil
end

function guard(_, timestamp, record)
  local ran, reason, detail = pcall(problem, timestamp, record)
  if ran and not reason then
    return 0, timestamp, 0
  end
  if not ran then
    reason, detail = "undecodable", tostring(reason)
  end
  wrapped = wrapped + 1
  local id = string.format("dead-letter-%d-%09d-%d", timestamp.sec, timestamp.nsec, wrapped)
  return 2, timestamp, {
    ["event"] = { ["id"] = id },
    ["audit"] = "a dead letter",
    ["dead_letter"] = { ["type"] = reason, ["detail"] = detail, ["record"] = record },
  }
end
