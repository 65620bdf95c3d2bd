--- `:BsshRun`: one command on many nodes, its output gathered in a buffer, failures in the
--- quickfix list.
---
--- `gather` makes the lines; this file runs, collects and cancels.

local core = require('bssh.core')
local gather = require('bssh.gather')
local log = require('bssh.log')
local options = require('bssh.options')

local M = {}

--- Runs by the core's number, as long as they go on.
local active = {}
--- Runs by buffer.
local by_buffer = {}
--- The buffer is drawn again at most so often, in milliseconds, and takes at most that part of
--- the time.
local REDRAW, SHARE = 100, 10

local function draw(run)
  if run.drawing or not vim.api.nvim_buf_is_valid(run.buffer) then
    return
  end
  run.drawing = true
  vim.defer_fn(function()
    run.drawing = false
    -- The end draws itself.
    if not run.done then
      M.draw(run)
    end
  end, math.max(REDRAW, (run.cost or 0) * SHARE))
end

--- Puts the run's lines into its buffer.
function M.draw(run)
  if not vim.api.nvim_buf_is_valid(run.buffer) then
    return
  end
  local function show(exprs)
    if not vim.api.nvim_buf_is_valid(run.buffer) then
      return
    end
    local begun = vim.loop.now()
    local lines = gather.lines(run, exprs)
    vim.bo[run.buffer].modifiable = true
    vim.api.nvim_buf_set_lines(run.buffer, 0, -1, false, lines)
    vim.bo[run.buffer].modifiable, vim.bo[run.buffer].modified = false, false
    vim.loop.update_time()
    run.cost = vim.loop.now() - begun
  end
  local sets = gather.sets(run)
  if #sets == 0 then
    return show({})
  end
  core.tell('group/fold', { sets = sets }, function(_, folded)
    show(folded and folded.exprs or vim.tbl_map(function(set) return table.concat(set, ',') end, sets))
  end)
end

local function collect(run, index, stream)
  local node = run.nodes[index + 1]
  core.current():receive(stream, {
    data = function(bytes)
      local room = options.get().max_output - node.kept
      if #bytes > room then
        node.omitted = node.omitted + #bytes - math.max(room, 0)
        bytes = bytes:sub(1, math.max(room, 0))
      end
      node.kept = node.kept + #bytes
      if #bytes > 0 then
        node.output[#node.output + 1] = bytes
      end
      draw(run)
    end,
    reset = function(failed)
      node.output[#node.output + 1] = '\n(the output was cut: ' .. log.printable(failed.message or 'reset') .. ')\n'
      draw(run)
    end,
  })
end

local function finish(run, summary)
  active[run.id or false] = nil
  run.summary, run.done = summary, true
  M.last = run
  local failures = gather.failures(run)
  -- A run that fails leaves its failures; one that does not leaves the list alone.
  if #failures > 0 then
    vim.fn.setqflist({}, ' ', { title = 'BsshRun ' .. run.targets .. ' ' .. run.command, items = failures })
  end
  M.draw(run)
  vim.api.nvim_exec_autocmds('User', { pattern = 'BsshRunDone', modeline = false })
end

core.listen(function(method, params)
  if method == 'lost' then
    for _, run in pairs(active) do
      run.failed = params.text
      finish(run, nil)
    end
    return
  end
  local run = active[params.run or false]
  if method == 'exec/node' and run then
    local node = run.nodes[params.index + 1]
    node.state, node.event = params.state, params
    if params.state == 'executing' and type(params.stdout) == 'number' then
      collect(run, params.index, params.stdout)
    end
    draw(run)
  elseif method == 'exec/done' and run then
    finish(run, params.summary)
  end
end)

local function open_buffer(run)
  vim.cmd('botright new')
  run.buffer = vim.api.nvim_get_current_buf()
  vim.bo[run.buffer].buftype, vim.bo[run.buffer].bufhidden = 'nofile', 'hide'
  vim.bo[run.buffer].swapfile = false
  local name = ('[bssh %d] %s: %s'):format(run.buffer, run.targets, run.command:gsub('[%c]', ' '):sub(1, 60))
  pcall(vim.api.nvim_buf_set_name, run.buffer, name)
  vim.bo[run.buffer].filetype = 'bsshrun'
  vim.wo.foldmethod, vim.wo.foldexpr, vim.wo.foldlevel =
    'expr', "getline(v:lnum)=~'^==> '?'>1':'='", 99
  local function map(keys, act, text)
    vim.keymap.set('n', keys, act, { buffer = run.buffer, nowait = true, desc = text })
  end
  map('q', '<cmd>close<cr>', 'close the window')
  map('<C-c>', function() M.cancel(run) end, 'cancel the run')
  map('R', function() M.again(run, false) end, 'run again on all nodes')
  map('r', function() M.again(run, true) end, 'run again on the nodes that failed')
  map('d', function() M.compare(run) end, 'compare the two largest groups')
  by_buffer[run.buffer] = run
end

--- Runs a command on the nodes of an expression. Returns the run; its buffer is shown.
function M.start(targets, command)
  local run = { targets = targets, command = command, nodes = {} }
  open_buffer(run)
  core.request('exec/start', {
    nodes = targets, action = { command = command }, guard = true, stderr = 'merge', timeoutMs = 0,
    fanout = options.get().fanout,
  }, function(failed, started)
    if failed then
      run.failed = core.explain(failed)
      return finish(run, nil)
    end
    run.id = started.run
    for index, name in ipairs(started.nodes) do
      run.nodes[index] = { name = name, state = 'waiting', output = {}, kept = 0, omitted = 0 }
    end
    active[run.id] = run
    draw(run)
  end)
  return run
end

--- Ends the run's remote processes.
function M.cancel(run)
  if run and run.id and not run.done then
    core.tell('exec/cancel', { run = run.id })
  end
end

--- The same command again, on all nodes or on those that failed.
function M.again(run, only_failed)
  if not run.done then
    return vim.notify('bssh: the run goes on', vim.log.levels.WARN)
  end
  local targets = only_failed and table.concat(gather.failed_nodes(run), ',') or run.targets
  if targets == '' then
    return vim.notify('bssh: no node failed', vim.log.levels.INFO)
  end
  return M.start(targets, run.command)
end

--- Two windows in diff mode: the outputs of the two largest groups.
function M.compare(run)
  local groups = gather.groups(run)
  if #groups < 2 then
    return vim.notify('bssh: all outputs are the same', vim.log.levels.INFO)
  end
  for at = 1, 2 do
    vim.cmd(at == 1 and 'tabnew' or 'vnew')
    vim.bo.buftype, vim.bo.bufhidden, vim.bo.swapfile = 'nofile', 'wipe', false
    pcall(vim.api.nvim_buf_set_name, 0, ('[bssh %d] %s'):format(vim.api.nvim_get_current_buf(), groups[at].names[1]))
    vim.api.nvim_buf_set_lines(0, 0, -1, false, groups[at].lines)
    vim.cmd('diffthis')
  end
end

--- The run of a buffer, else the last one.
function M.of_buffer(buffer)
  return by_buffer[buffer] or M.last
end

--- Runs that go on: nodes that have ended and all nodes.
function M.progress()
  local ended, all, runs = 0, 0, 0
  for _, run in pairs(active) do
    runs = runs + 1
    for _, node in ipairs(run.nodes) do
      all, ended = all + 1, ended + (node.state == 'ended' and 1 or 0)
    end
  end
  return runs, ended, all
end

vim.api.nvim_create_autocmd('BufWipeout', {
  group = vim.api.nvim_create_augroup('bssh_run', {}),
  callback = function(event)
    local run = by_buffer[event.buf]
    by_buffer[event.buf] = nil
    if run then
      log.write('the buffer of a run is gone')
      M.cancel(run)
    end
  end,
})

return M
