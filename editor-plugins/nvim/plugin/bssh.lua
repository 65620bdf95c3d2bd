-- Commands and `bssh://` buffers. Nothing is loaded and no core is started before one is used.

if vim.g.loaded_bssh then
  return
end
vim.g.loaded_bssh = true

local command = vim.api.nvim_create_user_command

local function warn(text)
  vim.notify('bssh: ' .. text, vim.log.levels.ERROR)
end

local function complete_first(lead, line)
  return require('bssh.nodes').complete_first(lead, line)
end

command('BsshRun', function(given)
  local targets, words = given.args:match('^(%S+)%s*(.*)$')
  if words == '' and given.range > 0 then
    words = table.concat(vim.api.nvim_buf_get_lines(0, given.line1 - 1, given.line2, false), '\n')
  end
  if not targets or words == '' then
    return warn('usage: :BsshRun {targets} {command}, or a range and :BsshRun {targets}')
  end
  require('bssh.run').start(targets, words)
end, { nargs = '+', range = true, complete = complete_first, desc = 'run a command on nodes' })

command('BsshAgain', function(given)
  local run = require('bssh.run').of_buffer(vim.api.nvim_get_current_buf())
  if not run then
    return warn('nothing was run yet')
  end
  require('bssh.run').again(run, not given.bang)
end, { bang = true, desc = 'run again on the nodes that failed; with ! on all' })

command('BsshCancel', function()
  require('bssh.run').cancel(require('bssh.run').of_buffer(vim.api.nvim_get_current_buf()))
end, { desc = "end a run's remote processes" })

command('BsshTerm', function(given)
  local term = require('bssh.term')
  if given.bang then
    local reopened, failed = term.reopen(vim.api.nvim_get_current_buf())
    return not reopened and warn(failed) or nil
  end
  local node, words = given.args:match('^(%S+)%s*(.*)$')
  if not node then
    return warn('usage: :BsshTerm {node} [command]')
  end
  term.open(node, words ~= '' and words or nil)
end, { nargs = '*', bang = true, complete = complete_first, desc = 'a terminal on a node' })

command('BsshForward', function(given)
  local forward = require('bssh.forward')
  if given.bang then
    return forward.close(given.args)
  elseif given.args == '' then
    return forward.list()
  end
  forward.open(given.fargs)
end, { nargs = '*', bang = true, complete = complete_first, desc = 'open, list or (with !) close a forward' })

command('BsshDiff', function()
  require('bssh.file').compare(vim.api.nvim_get_current_buf())
end, { desc = "compare with the node's version" })

command('BsshRestart', function()
  require('bssh.core').restart()
  require('bssh.nodes').forget()
end, { desc = 'end the core; the next use starts a new one' })

command('BsshLog', function()
  vim.cmd('botright new')
  vim.bo.buftype, vim.bo.bufhidden, vim.bo.swapfile = 'nofile', 'wipe', false
  vim.api.nvim_buf_set_lines(0, 0, -1, false, require('bssh.log').lines())
  vim.cmd('normal! G')
end, { desc = 'what the plugin and the core did' })

local group = vim.api.nvim_create_augroup('bssh', {})
local function on(event, act)
  vim.api.nvim_create_autocmd(event, { group = group, pattern = 'bssh://*', nested = true, callback = act })
end

on('BufReadCmd', function(event)
  require('bssh.file').open(event.match, event.buf)
end)
on('FileReadCmd', function(event)
  require('bssh.file').insert(event.match, vim.api.nvim_get_current_buf(), vim.fn.line("'["))
end)
on({ 'BufWriteCmd', 'FileWriteCmd' }, function(event)
  local range = event.event == 'BufWriteCmd' and { 1, vim.api.nvim_buf_line_count(event.buf) }
    or { vim.fn.line("'["), vim.fn.line("']") }
  require('bssh.file').write(event.match, event.buf, range, vim.v.cmdbang == 1)
end)

vim.api.nvim_create_autocmd('VimLeavePre', {
  group = group,
  callback = function()
    if package.loaded['bssh.core'] then
      require('bssh.core').stop()
    end
  end,
})
