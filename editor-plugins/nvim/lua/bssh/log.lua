--- The plugin's log: the last lines, in memory, without secrets.
---
--- `:BsshLog` shows it. Only `link` and `core` write to it. Messages are logged by method, id and
--- size; their contents only through `redact`.

local M = {}

--- Lines that are kept.
local KEPT = 1000
--- Fields whose contents are nobody's business: answers to questions, passwords, file contents.
local SECRET = { answers = true, password = true, login = true, data = true, text = true }

local lines = {}

function M.write(text)
  lines[#lines + 1] = os.date('%H:%M:%S ') .. M.printable(text)
  if #lines > KEPT then
    table.remove(lines, 1)
  end
end

function M.lines()
  return vim.deepcopy(lines)
end

--- A value in one line, secrets as `***`.
function M.redact(value, name)
  if name and SECRET[name] then
    return '***'
  end
  if type(value) ~= 'table' then
    return type(value) == 'string' and string.format('%q', value) or tostring(value)
  end
  local out = {}
  for key, inner in pairs(value) do
    local word = type(key) == 'string' and key or nil
    out[#out + 1] = (word and word .. '=' or '') .. M.redact(inner, word)
  end
  table.sort(out)
  return '{' .. table.concat(out, ' ') .. '}'
end

--- Text from a node: nothing in it reaches the terminal as an escape sequence.
function M.printable(text)
  return (tostring(text):gsub('[%z\1-\8\11-\31\127]', '?'):gsub('\n', ' '))
end

return M
