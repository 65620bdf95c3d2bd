--- Names of nodes and groups, for completion.

local core = require('bssh.core')

local M = {}

--- The names may be this old, in seconds.
local FRESH = 20

local kept, since = nil, 0

--- Node names and `@group` names, sorted; empty if the core cannot be asked.
function M.names()
  if kept and os.time() - since < FRESH then
    return kept
  end
  local names, seen = {}, {}
  local function add(name)
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  local listed = core.call('group/list', {})
  for _, group in ipairs(listed and listed.groups or {}) do
    add('@' .. group.name)
  end
  for _, expr in ipairs({ '@*', '@ssh:' }) do
    local found = core.call('group/resolve', { expr = expr })
    for _, node in ipairs(found and found.nodes or {}) do
      add(node)
    end
  end
  if listed then
    kept, since = names, os.time()
  end
  return names
end

--- Forgets the names.
function M.forget()
  kept = nil
end

--- Completes the last name of a node set expression.
function M.complete(lead)
  local head, last = lead:match('^(.*[,!&^])([^,!&^]*)$')
  head, last = head or '', last or lead
  local found = {}
  for _, name in ipairs(M.names()) do
    if name:sub(1, #last) == last then
      found[#found + 1] = head .. name
    end
  end
  return found
end

--- For commands whose first word is a node set (or one node), and nothing else is completed.
function M.complete_first(lead, line)
  local before = line:gsub('^.-Bssh%w+!?%s*', '')
  return before:find('%s') and {} or M.complete(lead)
end

return M
