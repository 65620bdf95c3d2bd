--- :BsshTerm.

return function(T)
  local term = require('bssh.term')

  local function screen(one)
    return T.text(one.buffer)
  end

  local function type_in(one, text)
    require('bssh.core').current():write(one.input, text)
  end

  return {
    { 'what is typed comes back, and the window\'s size is the node\'s', function()
      local one = term.open('alpha', 'sh')
      T.wait('it is open', function() return one.input ~= nil end)
      type_in(one, 'echo a$((40+2))b; stty size\n')
      T.wait('the answer', function() return screen(one):find('a42b') end)
      local rows, cols = vim.api.nvim_win_get_height(0), vim.api.nvim_win_get_width(0)
      T.wait('its size', function() return screen(one):find(rows .. ' ' .. cols) end)
      vim.cmd('resize 7')
      -- A Neovim that has WinResized tells it from its main loop, which a test does not reach.
      vim.cmd('doautocmd ' .. (vim.fn.exists('##WinResized') == 1 and 'WinResized' or 'WinEnter'))
      T.wait('the node knows', function() return one.rows == 7 end)
      type_in(one, 'stty size; echo done\n')
      T.wait('its new size', function() return screen(one):find('7 ' .. cols) end)
      type_in(one, 'exit 3\n')
      T.wait('the end', function() return screen(one):find('exited with 3') end)
    end },
    { 'a signal is a signal', function()
      local one = term.open('alpha', 'kill -TERM $$')
      T.wait('the end', function() return screen(one):find('killed by signal TERM') end)
    end },
    { 'a lost link leaves the screen, and the terminal is opened again in place', function()
      local one = term.open('alpha', 'sh')
      T.wait('it is open', function() return one.input ~= nil end)
      type_in(one, 'echo be${x}fore\n')
      T.wait('output', function() return screen(one):find('before') end)
      vim.fn.system({ T.nodes, 'lose', T.lab })
      T.wait('it is lost', function() return screen(one):find('lost') end)
      vim.cmd('BsshTerm!')
      T.wait('it is open again', function() return one.input ~= nil end)
      type_in(one, 'echo af${x}ter\n')
      T.wait('new output', function() return screen(one):find('after') end)
      T.matches(screen(one), 'before')
    end },
    { 'a node that cannot be reached says so', function()
      local one = term.open('dead')
      T.wait('the cause', function() return screen(one):gsub('\n', ''):find('connection refused') end)
    end },
    { 'closing the buffer closes the pty', function()
      local one = term.open('alpha', 'sh')
      T.wait('it is open', function() return one.input ~= nil end)
      vim.cmd('bwipeout! ' .. one.buffer)
      local left
      repeat
        left = #require('bssh.core').current():call('pty/list', {}, 5000).ptys
      until left == 0
    end },
  }
end
