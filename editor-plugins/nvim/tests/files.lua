--- bssh://node/path buffers.

return function(T)
  local function open(path)
    vim.cmd('edit ' .. vim.fn.fnameescape('bssh://alpha' .. path))
    return vim.api.nvim_get_current_buf()
  end

  return {
    { 'a file is read, typed, changed and written', function()
      local path = T.write('a b/hello.py', 'print(1)\n')
      vim.fn.system({ 'chmod', '751', path })
      open(path)
      T.equal(T.text(), 'print(1)')
      T.equal({ vim.bo.filetype, vim.bo.modified }, { 'python', false })
      vim.api.nvim_buf_set_lines(0, 1, 1, false, { 'print("ü")' })
      T.equal(vim.bo.modified, true)
      vim.cmd('write')
      T.equal(vim.bo.modified, false)
      T.equal(T.read(path), 'print(1)\nprint("ü")\n')
      T.equal(vim.fn.getfperm(path), 'rwxr-x--x')
      vim.cmd('silent undo | write')
      T.equal(T.read(path), 'print(1)\n')
    end },
    { 'bytes are kept: no last newline, CR LF, NUL, not UTF-8', function()
      for _, content in ipairs({ 'a\nb', 'a\r\nb\r\n', 'a\0b\n', '\255\254\n', '', '\n' }) do
        local path = T.write('bytes', content)
        open(path)
        vim.cmd('write')
        T.equal(T.read(path), content)
        vim.cmd('bwipeout')
      end
    end },
    { 'somebody else\'s change is not overwritten unseen', function()
      local path = T.write('shared.txt', 'one\n')
      open(path)
      T.write('shared.txt', 'two\n')
      vim.api.nvim_buf_set_lines(0, 0, -1, false, { 'mine' })
      T.matches(T.messages(function() vim.cmd('write') end), 'changed on the node since it was read')
      T.equal({ T.read(path), vim.bo.modified }, { 'two\n', true })
      vim.cmd('BsshDiff')
      T.equal(T.text(), 'two')
      vim.cmd('bwipeout | diffoff')
      vim.cmd('write!')
      T.equal({ T.read(path), vim.bo.modified }, { 'mine\n', false })
      vim.cmd('edit!')
      T.equal(T.text(), 'mine')
    end },
    { 'a new file is made, and another\'s is not replaced', function()
      local path = T.lab .. '/root/new.txt'
      os.remove(path)
      open(path)
      vim.api.nvim_buf_set_lines(0, 0, -1, false, { 'new' })
      T.write('new.txt', 'theirs\n')
      T.matches(T.messages(function() vim.cmd('write') end), 'changed on the node')
      os.remove(path)
      vim.cmd('write')
      T.equal(T.read(path), 'new\n')
      local other = T.write('other.txt', 'theirs\n')
      T.matches(T.messages(function() vim.cmd('write bssh://alpha' .. other) end), 'is there already')
      vim.cmd('write! bssh://alpha' .. other)
      T.equal(T.read(other), 'new\n')
    end },
    { 'part of a buffer, and :read', function()
      local path = T.lab .. '/root/part.txt'
      os.remove(path)
      vim.cmd('new')
      vim.api.nvim_buf_set_lines(0, 0, -1, false, { '1', '2', '3' })
      vim.cmd('2,3write bssh://alpha' .. path)
      T.equal(T.read(path), '2\n3\n')
      vim.cmd('1read bssh://beta' .. path)
      T.equal(T.text(), '1\n2\n3\n2\n3')
    end },
    { 'a directory is listed and can be walked', function()
      T.write('tree/sub/deep.txt', 'deep\n')
      T.write('tree/with space', 'x\n')
      open(T.lab .. '/root/tree')
      T.equal(T.text(), '../\nsub/\nwith space')
      vim.fn.search('sub/')
      vim.cmd([[execute "normal \<cr>"]])
      vim.fn.search('deep')
      vim.cmd([[execute "normal \<cr>"]])
      T.equal(T.text(), 'deep')
    end },
    { 'ten thousand entries', function()
      local dir = T.lab .. '/root/many'
      vim.fn.mkdir(dir, 'p')
      for at = 1, 10000 do
        assert(io.open(('%s/f%05d'):format(dir, at), 'w')):close()
      end
      local begun = vim.loop.hrtime()
      open(dir)
      T.equal(vim.api.nvim_buf_line_count(0), 10001)
      io.stdout:write(('     10,000 entries in %d ms\n'):format((vim.loop.hrtime() - begun) / 1e6))
    end },
    { 'errors name the node and the cause, and leave nothing to write', function()
      local text = T.messages(function() vim.cmd('edit bssh://dead/etc/hosts') end)
      T.matches(text, 'bssh://dead/etc/hosts: connection refused.*is sshd running there')
      T.equal(vim.bo.modifiable, false)
      local changed = T.messages(function() vim.cmd('edit bssh://changed/etc/hosts') end)
      T.matches(changed, 'HAS CHANGED.*known_others:1')
    end },
    { 'a lost link keeps the buffer, and the next write connects again', function()
      local path = T.write('lost.txt', 'one\n')
      open(path)
      vim.api.nvim_buf_set_lines(0, 0, -1, false, { 'two' })
      local core = require('bssh.core').current()
      core:kill()
      T.wait('the core is gone', function() return core.closed ~= nil end)
      T.equal(vim.bo.modified, true)
      vim.cmd('write')
      T.equal(T.read(path), 'two\n')
      -- And the node's end.
      vim.fn.system({ T.nodes, 'lose', T.lab })
      vim.api.nvim_buf_set_lines(0, 0, -1, false, { 'three' })
      T.wait('it is written', function()
        vim.cmd('write')
        return not vim.bo.modified
      end)
      T.equal(T.read(path), 'three\n')
      require('bssh.core').restart()
    end },
  }
end
