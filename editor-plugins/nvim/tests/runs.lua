--- :BsshRun.

return function(T)
  return {
    { 'the same output is shown once, under a folded name', function()
      local run = T.run('@lab', 'echo hello')
      T.equal(vim.api.nvim_buf_get_lines(run.buffer, 0, -1, false), {
        '$ echo hello', '@lab: 3 nodes, 3 ok, 0 failed', '', '==> ✓ alpha,beta,gamma (3): ok', 'hello',
      })
      T.equal(vim.bo[run.buffer].filetype, 'bsshrun')
    end },
    { 'different outputs are apart, failures first and in the quickfix list', function()
      local run = T.run('@lab', 'case $SSH_CONNECTION in *127.0.0.3*) echo odd; exit 3;; *) echo even;; esac')
      local text = T.text(run.buffer)
      T.matches(text, '3 nodes, 2 ok, 1 failed\n\n==> ✗ beta %(1%): exit 3\nodd\n\n==> ✓ alpha,gamma %(2%): ok\neven$')
      local list = vim.fn.getqflist()
      T.equal({ #list, list[1].module, list[1].text }, { 1, 'beta', 'exit 3: odd' })
    end },
    { 'a node that cannot be reached says why and what to do', function()
      local run = T.run('@mixed', 'true')
      T.matches(T.text(run.buffer), '==> ✗ dead %(1%): %[dial%] connection refused')
      T.matches(T.text(run.buffer), 'hint: is sshd running there')
      -- Again, on the failed ones only.
      require('bssh.run').again(run, true)
      local second = require('bssh.run').of_buffer(vim.api.nvim_get_current_buf())
      T.equal(second.targets, 'dead')
      T.wait('the second run ends', function() return second.done end)
    end },
    { 'a wrong node set is an error with its place', function()
      local run = T.run('n[1-', 'true')
      T.matches(T.text(run.buffer), 'failed: node set "n%[1%-": missing "%]" at column 4')
    end },
    { 'cancel ends the remote processes', function()
      local run = require('bssh').run('alpha,beta', 'echo pid $$; exec sleep 87654')
      local function pids()
        local found = {}
        for _, node in ipairs(run.nodes) do
          found[#found + 1] = table.concat(node.output):match('pid (%d+)')
        end
        return found
      end
      T.wait('both run', function() return #pids() == 2 end)
      vim.cmd('BsshCancel')
      T.wait('the run ends', function() return run.done end)
      for _, pid in ipairs(pids()) do
        T.wait('the process is gone', function() return vim.fn.isdirectory('/proc/' .. pid) == 0 end)
      end
      T.equal(run.summary.cancelled, 2)
    end },
    { 'much output arrives whole, and what is cut is counted', function()
      local size = 20 * 1024 * 1024
      local run = T.run('alpha', 'head -c ' .. size .. ' /dev/zero | tr "\\0" x')
      local node = run.nodes[1]
      T.equal({ node.kept + node.omitted, node.kept }, { size, require('bssh.options').get().max_output })
      T.matches(T.text(run.buffer), '%(%d+ more bytes are not shown%)')
    end },
    { 'a range of lines is the command', function()
      vim.cmd('new')
      vim.api.nvim_buf_set_lines(0, 0, -1, false, { 'a=1', 'b=2', 'echo $a$b' })
      vim.cmd('1,3BsshRun alpha')
      local run = require('bssh.run').of_buffer(vim.api.nvim_get_current_buf())
      T.wait('the run ends', function() return run.done end)
      T.equal(table.concat(run.nodes[1].output), '12\n')
    end },
    { 'escape sequences of a node stay text', function()
      local run = T.run('alpha', [[printf '\033]0;x\007\000y\n']])
      T.equal(run.nodes[1].output, { '\27]0;x\7\0y\n' })
      T.matches(T.text(run.buffer), '\27%]0;x\7 y')
    end },
  }
end
