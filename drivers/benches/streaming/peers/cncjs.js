// CNCjs's controllers without their web server, as a host of the bench. Arguments: dialect, port, program.
'use strict';
const fs = require('fs');
const os = require('os');
const path = require('path');
const readline = require('readline');

const [, , dialect, port, program] = process.argv;
const server = path.join(process.env.CNCJS, 'dist', 'cncjs', 'server');
let controllers;
try {
  process.env.NODE_ENV = 'production';
  require(path.join(server, 'services', 'configstore')).default.load(path.join(os.tmpdir(), `cncjs-bench-${process.pid}.json`));
  controllers = require(path.join(server, 'controllers'));
} catch (error) {
  console.log(`missing: CNCjs (${error.message})`);
  process.exit(1);
}

const engine = { event: { trigger() {} }, io: { emit() {} } };
const Controller = dialect === 'marlin' ? controllers.MarlinController : controllers.GrblController;
const controller = new Controller(engine, { port, baudrate: 115200, rtscts: false, pin: {} });
const input = readline.createInterface({ input: process.stdin });
const until = (is, then) => {
  const timer = setInterval(() => {
    if (is()) {
      clearInterval(timer);
      then();
    }
  }, 10);
};

controller.open((error) => {
  if (error) {
    console.log(`missing: CNCjs cannot open the port (${error.message})`);
    process.exit(1);
  }
  until(() => controller.ready, () => {
    controller.command('gcode:load', 'bench', fs.readFileSync(program, 'utf8'), {}, (failed) => {
      if (failed) {
        throw failed;
      }
      console.log('ready');
      input.once('line', () => {
        controller.sender.once('end', () => console.log('done'));
        controller.command('gcode:start');
      });
    });
  });
});
