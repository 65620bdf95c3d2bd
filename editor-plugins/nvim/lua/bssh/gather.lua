--- A run as lines: nodes with the same output and end are shown once.
---
--- Pure: from the collected run to text. `run` collects, the core folds the names.

local log = require('bssh.log')

local M = {}

local function given(value)
  return value ~= nil and value ~= vim.NIL and value or nil
end

--- How a node ended, in a few words, and whether that is a success.
function M.verdict(node)
  if node.state ~= 'ended' then
    return node.state or 'waiting', nil
  end
  local event = node.event or {}
  local exit, failure = given(event.exit), given(event.failure)
  if exit and exit.status then
    return exit.status == 0 and 'ok' or 'exit ' .. exit.status, exit.status == 0
  elseif exit and exit.signal then
    return 'killed by ' .. log.printable(exit.signal), false
  end
  failure = failure or {}
  local text = '[' .. log.printable(failure.phase or '?') .. '] ' .. log.printable(failure.message or '')
  if given(failure.hop) then
    text = text .. ' at ' .. log.printable(failure.hop)
  end
  if given(event.killed) == 'unconfirmed' then
    text = text .. ' (whether its processes are gone is not known)'
  end
  return text, false
end

--- A node's output as lines.
local function output_lines(node)
  local text = table.concat(node.output):gsub('\r\n', '\n')
  local lines = text == '' and {} or vim.split(text, '\n', { plain = true })
  if lines[#lines] == '' then
    table.remove(lines)
  end
  if node.omitted > 0 then
    lines[#lines + 1] = ('(%d more bytes are not shown)'):format(node.omitted)
  end
  return lines
end

--- Nodes with the same output and the same end, largest group first, failures before successes.
function M.groups(run)
  local groups, by_key = {}, {}
  for _, node in ipairs(run.nodes) do
    local verdict, ok = M.verdict(node)
    local key = verdict .. '\0' .. node.omitted .. '\0' .. table.concat(node.output)
    local group = by_key[key]
    if not group then
      group = { names = {}, verdict = verdict, ok = ok, lines = output_lines(node), order = #groups }
      group.hint = given(node.event and given(node.event.failure) and given(node.event.failure.hint))
      by_key[key], groups[#groups + 1] = group, group
    end
    group.names[#group.names + 1] = node.name
  end
  table.sort(groups, function(a, b)
    local x, y = a.ok == false and 0 or 1, b.ok == false and 0 or 1
    if x ~= y then return x < y end
    if #a.names ~= #b.names then return #a.names > #b.names end
    return a.order < b.order
  end)
  return groups
end

--- The node names of every group, for `group/fold`.
function M.sets(run)
  return vim.tbl_map(function(group) return group.names end, M.groups(run))
end

local function heading(run)
  local counts = { ended = 0, ok = 0, failed = 0 }
  for _, node in ipairs(run.nodes) do
    local _, ok = M.verdict(node)
    counts.ended = counts.ended + (ok ~= nil and 1 or 0)
    counts.ok = counts.ok + (ok == true and 1 or 0)
    counts.failed = counts.failed + (ok == false and 1 or 0)
  end
  if run.failed then
    return 'failed: ' .. run.failed
  end
  local words = ('%d nodes, %d ok, %d failed'):format(#run.nodes, counts.ok, counts.failed)
  if not run.done then
    words = words .. (', %d running'):format(#run.nodes - counts.ended)
  end
  return words
end

--- The whole buffer. `exprs` are the folded names of the groups.
function M.lines(run, exprs)
  local lines = { '$ ' .. run.command:gsub('\n', ' ⏎ '), run.targets .. ': ' .. heading(run) }
  for at, group in ipairs(M.groups(run)) do
    local mark = group.ok == nil and '…' or group.ok and '✓' or '✗'
    local name = exprs[at] or table.concat(group.names, ',')
    lines[#lines + 1] = ''
    lines[#lines + 1] = ('==> %s %s (%d): %s'):format(mark, name, #group.names, group.verdict)
    if group.hint then
      lines[#lines + 1] = 'hint: ' .. log.printable(group.hint)
    end
    vim.list_extend(lines, group.lines)
  end
  return vim.tbl_map(function(text) return (text:gsub('%z', '\n'):gsub('\n', ' ')) end, lines)
end

--- Nodes that have no exit status 0.
function M.failed_nodes(run)
  local names = {}
  for _, node in ipairs(run.nodes) do
    local _, ok = M.verdict(node)
    if ok ~= true then
      names[#names + 1] = node.name
    end
  end
  return names
end

--- For the quickfix list: what failed, and the last line it said.
function M.failures(run)
  local items = {}
  if run.failed then
    items[1] = { bufnr = run.buffer, lnum = 1, text = run.failed, type = 'E' }
  end
  for _, node in ipairs(run.nodes) do
    local verdict, ok = M.verdict(node)
    if ok == false then
      local said = output_lines(node)
      local last = said[#said] and ': ' .. log.printable(said[#said]) or ''
      items[#items + 1] = { bufnr = run.buffer, lnum = 1, module = node.name, text = verdict .. last, type = 'E' }
    end
  end
  return items
end

return M
