# Reads files with the gem dotenv; requests and answers as in main.go, without a kind. Nothing that a file says is run.
require "dotenv"

# What would be run is told as a refusal instead.
module Dotenv::Substitutions::Command
  def self.call(value, _env, *_rest)
    raise "a command" if value =~ /(?<!\\)\$\((?:[^()]|\([^()]*\))+\)/
    value.gsub(/\\(\$\((?:[^()]|\([^()]*\))+\))/) { $1 }
  end
end

STDIN.each_line do |line|
  text = line.chomp.unpack1("m").force_encoding("UTF-8")
  begin
    ENV.delete_if { |name, _| name.start_with?("V", "Z") }
    values = Dotenv::Parser.call(text)
    puts values.map { |name, value| "#{name =~ /\A\w+\z/ ? name : "?"}:#{[value].pack("m0")}" }.join(" ")
  rescue StandardError, SyntaxError
    puts "!"
  end
end
