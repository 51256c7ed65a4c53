# A Sidekiq application: one worker class.
#
#     sidekiq -r ./sidekiq_jobs.rb          its own worker
#     ruby sidekiq_jobs.rb FIRST COUNT      enqueues; prints what became of it as one line of JSON
require 'json'
require 'redis'
require 'sidekiq'

Sidekiq.configure_client { |config| config.redis = { url: ENV.fetch('BROKER') } }
Sidekiq.configure_server { |config| config.redis = { url: ENV.fetch('BROKER') } }
LEDGER = Redis.new(port: Integer(ENV.fetch('LEDGER')))

class Job
  include Sidekiq::Worker

  def perform(number)
    LEDGER.hincrby('done', number, 1)
  end
end

if $PROGRAM_NAME == __FILE__
  first, count = ARGV.map { |word| Integer(word) }
  report = { acknowledged: [], ambiguous: [], exceptions: [] }
  (first...first + count).each do |number|
    Job.perform_async(number)
    report[:acknowledged] << number
  rescue StandardError => e
    known = e.message.include?('AMBIGUOUS')
    report[known ? :ambiguous : :exceptions] << (known ? number : e.inspect)
  end
  puts JSON.generate(report)
end
