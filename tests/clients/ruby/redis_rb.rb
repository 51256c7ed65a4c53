# redis-rb, a thread and a connection for each role; reconnecting is switched off, so that nothing is hidden by a second try.

require 'redis'

WRITERS = 6
DEPTH = 4
ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])".freeze

$over = false
Thread.new { $stdin.read; $over = true }

# One line in one write, so that those of threads do not mix.
def say(*words)
  $stdout.syswrite("#{words.join(' ').tr("\n", ' ')}\n")
end

def connect
  Redis.new(host: ARGV[0], port: Integer(ARGV[1]), reconnect_attempts: 0)
end

# One letter for a reply; what is neither good nor AMBIGUOUS is the application's to see.
def verdict(reply)
  return 'o' if reply == 'OK'
  return 'a' if reply.is_a?(Redis::CommandError) && reply.message.start_with?('AMBIGUOUS')

  raise reply if reply.is_a?(Exception)

  raise "unexpected reply #{reply.inspect}"
end

def writer(number)
  client = connect
  first = 0
  until $over
    say 'sent', number, DEPTH
    futures = []
    begin
      client.pipelined do |pipeline|
        DEPTH.times { |step| futures << pipeline.set("w:#{number}:#{first + step}", first + step) }
      end
      replies = futures.map(&:value)
    rescue Redis::CommandError => fault
      # The first error of a pipeline is raised in place of all replies.
      replies = [fault] * DEPTH
    end
    say 'got', number, replies.map { |reply| verdict(reply) }.join
    first += DEPTH
  end
end

def transactions
  client = connect
  until $over
    begin
      client.multi do |transaction|
        transaction.incr('counter')
        transaction.get('counter')
      end
      say 'transaction', 'o'
    rescue Redis::CommandError => fault
      say 'transaction', verdict(fault)
    end
  end
end

def subscriber
  client = connect
  client.subscribe('news') do |on|
    on.message do |_channel, text|
      say 'heard', text
      client.unsubscribe if text == 'after'
    end
  end
end

def worker
  client = connect
  job = ''
  until job == 'last'
    _, job = client.blpop('jobs', timeout: 0)
    say 'job', job
  end
end

def guarded(role)
  yield
rescue StandardError => fault
  say 'exception', "#{role}: #{fault.class}: #{fault.message}"
end

# As redis-rb's documentation has it: EVALSHA, and EVAL where the script is not known.
def add(client, sha)
  client.evalsha(sha, keys: ['script'], argv: [7])
rescue Redis::CommandError => fault
  raise unless fault.message.start_with?('NOSCRIPT')

  client.eval(ADD, keys: ['script'], argv: [7])
end

guarded('main') do
  client = connect
  say 'client', 'redis-rb', Redis::VERSION
  sha = client.script(:load, ADD)
  say 'script', add(client, sha)
  roles = WRITERS.times.map { |number| Thread.new { guarded("writer #{number}") { writer(number) } } }
  roles += %i[transactions subscriber worker].map { |role| Thread.new { guarded(role) { send(role) } } }
  roles.each(&:join)
  say 'scanned', client.scan_each(match: 'w:0:*', count: 500).count
  say 'script', add(client, sha)
end
